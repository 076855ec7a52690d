"""Report of a render job: what became of every shot, before and after, and the films themselves."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.rendering.plan import RenderPlan
from pipeline.reports.page import Film, Picture, Report, Section, Table
from storage.ledger import Ledger

SOFT_ABOVE = 2.0
"""Film px per rendered px from which on a face looks soft (Spec 2.10.6)."""
MOST_STRIPS = 60
"""A page with the strips of more shots than that is slow to open."""

MOST_ROWS = 500
"""Of the page's table, those not ok first; the store's has all."""

_COLUMNS = (
    *("shot", "", "outcome", "frames", "rendered", "kept", "failed", "seconds", "network share"),
    *("sound late by, ms", "enlarged", "why"),
)


def render_report(ledger: Ledger, plan: RenderPlan, rows: Sequence[Mapping[str, Any]]) -> Report:
    """Return the report; it lies beside the delivered films, so it links them by name."""
    worst_first = sorted(rows, key=lambda row: row["outcome"] == "ok")
    table = Table(_COLUMNS, [_cells(ledger, row) for row in worst_first[:MOST_ROWS]])
    pictured = [row for row in rows if row["strip_key"]][:MOST_STRIPS]
    return Report(
        title=f"Render job {plan.job.job}",
        summary=f"{_counts(rows)}. {_speed(rows)}Weights: run {plan.run.name}, recipe "
        f"{plan.run.recipe}, dataset {plan.run.dataset} ({plan.run.dataset_key[:12]}).",
        sections=[
            Section("Shots", _explained(rows), table=table),
            *(_section(ledger, row) for row in pictured),
        ],
    )


def said_of(row: Mapping[str, Any]) -> str:
    """Return why a shot is not ok, or what an operator should look at; empty where all is well."""
    said = [": ".join(part for part in (row["reason"], row["detail"]) if part)]
    if row["outcome"] == "ok" and (row["enlargement"] or 0) > SOFT_ABOVE:
        said.append(
            f"the face is {row['enlargement']:.1f} times as large as it was rendered: it looks soft"
        )
    return "; ".join(part for part in said if part)


def _cells(ledger: Ledger, row: Mapping[str, Any]) -> tuple[object, ...]:
    late_s, share = row["av_offset_s"], network_share(row)
    return (
        row["shot_id"],
        _thumbnail(ledger, row),
        row["outcome"],
        *(row[f"frames_{name}"] for name in ("total", "rendered", "kept", "failed")),
        f"{row['seconds']:.1f}",
        "" if share is None else f"{100 * share:.0f} %",
        "" if late_s is None else f"{1000 * late_s:.1f}",
        "" if row["enlargement"] is None else f"{row['enlargement']:.2f}",
        said_of(row),
    )


def _thumbnail(ledger: Ledger, row: Mapping[str, Any]) -> Picture | str:
    key = row["thumbnail_key"]
    return Picture(ledger.store.get(key), "image/jpeg", row["shot_id"]) if key else ""


def network_share(row: Mapping[str, Any]) -> float | None:
    """Return which part of a shot's time its network worked; at 1 nothing else costs any."""
    if row["network_s"] is None or not row["seconds"]:
        return None
    return float(row["network_s"] / row["seconds"])


def _counts(rows: Sequence[Mapping[str, Any]]) -> str:
    outcomes = Counter(row["outcome"] for row in rows)
    lacking = [f"{count} {name}" for name, count in sorted(outcomes.items()) if name != "ok"]
    return ", ".join([f"{outcomes['ok']} of {len(rows)} shots delivered", *lacking])


def _speed(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say how fast frames were rendered, beside how fast the network alone would do so."""
    timed = [row for row in rows if row["network_s"]]
    network_s, seconds = (sum(row[name] for row in timed) for name in ("network_s", "seconds"))
    frames = sum(row["frames_rendered"] for row in timed)
    if not network_s or not seconds:
        return ""
    return (
        f"{frames / seconds:.1f} frames/s a worker, {100 * network_s / seconds:.0f} % of the "
        f"{frames / network_s:.1f} of the network alone. "
    )


def _explained(rows: Sequence[Mapping[str, Any]]) -> str:
    text = (
        "Kept frames show what the shot's policy says. Network share: part of the time in which "
        "the network worked. Enlarged: film px for each rendered px."
    )
    if (unlisted := len(rows) - MOST_ROWS) > 0:
        text += f" {unlisted} further shots stand in renders.parquet alone."
    if (unseen := sum(bool(row["strip_key"]) for row in rows) - MOST_STRIPS) > 0:
        text += f" Of {unseen} shots no pictures are shown here."
    return text


def _section(ledger: Ledger, row: Mapping[str, Any]) -> Section:
    shot = row["shot_id"]
    return Section(
        f"Shot {shot}",
        "Above the original, below what was delivered.",
        pictures=[Picture(ledger.store.get(row["strip_key"]), "image/jpeg", shot)],
        films=[Film(f"{shot}.mp4", shot)],
    )
