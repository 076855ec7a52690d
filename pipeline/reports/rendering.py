"""Report of a render job: what became of every shot, before and after, and the films themselves."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.rendering.job import RenderPlan
from pipeline.reports.page import Film, Picture, Report, Section, Table
from storage.ledger import Ledger


def render_report(ledger: Ledger, plan: RenderPlan, rows: Sequence[Mapping[str, Any]]) -> Report:
    """Return the report; it lies beside the delivered films, so it links them by name."""
    table = Table(
        ("shot", "outcome", "frames", "rendered", "kept", "why"),
        [
            (
                row["shot_id"],
                row["outcome"],
                row["frames_total"],
                row["frames_rendered"],
                row["frames_kept"],
                row["detail"] or row["reason"],
            )
            for row in rows
        ],
    )
    sections = [Section("Shots", table=table)]
    for row in rows:
        shot = row["shot_id"]
        if row["strip"]:
            sections.append(
                Section(
                    f"Shot {shot}",
                    "Above the original, below what was delivered.",
                    pictures=[Picture(ledger.store.get(row["strip"]), "image/jpeg", shot)],
                    films=[Film(f"{shot}.mp4", shot)],
                )
            )
    delivered = sum(row["outcome"] == "ok" for row in rows)
    return Report(
        title=f"Render job {plan.job.job}",
        summary=f"{delivered} of {len(rows)} shots delivered. Weights: run {plan.run.name}, "
        f"recipe {plan.run.recipe}, dataset {plan.run.dataset} ({plan.run.dataset_key[:12]}).",
        sections=sections,
    )
