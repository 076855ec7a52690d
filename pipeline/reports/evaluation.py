"""Report of an evaluation: numbers beside copying the source and beside the paper's, pictures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.evaluation.metrics import METRICS, Metric
from model.evaluation.paper import NOT_COMPARABLE, OURS, TALKING_HEAD_1KH, VFHQ
from model.evaluation.protocol import Protocol
from pipeline.evaluation.clips import Seen
from pipeline.evaluation.job import EvaluationPlan
from pipeline.reports.page import Picture, Report, Section, Table
from pipeline.stage import Item
from pipeline.stages.evaluation import RANKED_BY, SUMMARY
from pipeline.stages.expressions import NUMBERS
from pipeline.stages.views import LEGEND
from storage.ledger import Commit, Ledger

TITLES: Mapping[Protocol, str] = {"same": "Same identity", "cross": "Cross identity"}
_HOW = {
    "same": "A frame of a clip is the source, other frames of the same clip drive it: the "
    "generated frame should be the driving frame.",
    "cross": "The frames of each clip drive a frame of another person: expression and pose should "
    "be the driver's, the person the source's. Copying the source scores the source's own "
    "distance to the driver.",
}
_COLUMNS = (
    *("metric", "better", "generated", "copy the source", "nearer than the copy"),
    *("the film itself", f"paper, {VFHQ.data}", f"paper, {TALKING_HEAD_1KH.data}"),
    *("measured", "failed"),
)


@dataclass(frozen=True)
class MetricRow:
    """A line of a protocol's table; None stands where there is no number."""

    metric: Metric
    generated: float | None
    copy: float | None
    better_share: float | None
    driver: float | None
    paper_vfhq: float | None
    paper_talking_head: float | None
    measured: int
    failed: int


def read_summary(ledger: Ledger, commit: Commit) -> dict[str, Any]:
    """Return the summary of an evaluation."""
    return _json(ledger, commit, SUMMARY)


def metric_rows(summary: Mapping[str, Any], protocol: Protocol) -> list[MetricRow]:
    """Return the lines of a protocol's table; none where it had no pairs."""
    found = summary[protocol]["metrics"] if protocol in summary else {}
    return [
        _row(metric, found[metric.name], protocol) for metric in METRICS if metric.name in found
    ]


def cells(row: MetricRow) -> tuple[str, ...]:
    """Return a line as texts, one for each column of the report's table."""
    share = "" if row.better_share is None else f"{100 * row.better_share:.0f} %"
    return (
        row.metric.title,
        row.metric.better,
        _number(row.generated),
        _number(row.copy),
        share,
        _number(row.driver),
        _number(row.paper_vfhq),
        _number(row.paper_talking_head),
        str(row.measured),
        str(row.failed),
    )


def evaluation_report(ledger: Ledger, plan: EvaluationPlan, items: Mapping[str, Item]) -> Report:
    """Return the report of what the stages in `items`, by name, have found."""
    sections = []
    for name, item in items.items():
        commit = item.commits.get(name)
        if item.ended or commit is None:
            why = item.ended.detail if item.ended else "it has not run"
            sections.append(Section(f"No {name}", why))
        else:
            sections += _SECTIONS[name](ledger, commit)
    return Report(
        title=f"Run {plan.run.name} judged on {plan.dataset_name}",
        summary=f"Recipe {plan.run.recipe}, trained on dataset {plan.run.dataset}. "
        f"{weights_said(plan.weights)} Dataset version {plan.dataset.key[:12]}, recipe "
        f"{plan.dataset.kind.recipe}.",
        sections=sections,
    )


def weights_said(weights: Commit) -> str:
    """Say which weights were judged, in one sentence."""
    if weights.stage == "checkpoint":
        position: Any = weights.info["position"]
        steps = sum(position["steps"])
        return f"Weights of step {steps}, {weights.key[:12]}: the run has not ended."
    return f"Weights of the run's end, {weights.key[:12]}."


def seen_said(summary: Mapping[str, Any]) -> str:
    """Say in one sentence what the run knew of the frames that drove."""
    seen = summary["same"]["seen"]
    said = {
        Seen.NEW_FILM: "from films that the run was not trained on",
        Seen.HELD_OUT: "held out: of films that the run was trained on, but never trained on",
        Seen.TRAINED_ON: "TRAINED ON: they say nothing of frames that the run does not know",
    }
    return "; ".join(
        f"{count} driving frames are {said[Seen(kind)]}" for kind, count in seen.items()
    )


def _evaluation(ledger: Ledger, commit: Commit) -> list[Section]:
    summary = read_summary(ledger, commit)
    protocol = summary["config"]["protocol"]
    perceptual = summary["perceptual"]
    lines = [
        f"{seen_said(summary)}.",
        f"{summary['clips']} clips of {summary['persons']} persons; at most "
        f"{protocol['frames_per_clip']} driving frames of each, in stretches of "
        f"{protocol['stretch_frames']}; {summary['clips_without_pair']} clips had too few frames.",
        f"Pictures are {summary['image_px']} px on a side. Key-points are in px of a picture of "
        "256 px. Landmarks, coefficients and identity are measured in generated, driving and "
        "source pictures alike, of that size, by the networks that made the dataset.",
        "The perceptual distance is "
        + (
            f"that of {perceptual}, of every sixth frame."
            if perceptual
            else "not measured: the recipe has no network."
        ),
    ]
    if against := summary["trained_against"]:
        titles = [metric.title for metric in METRICS if metric.name in against]
        lines.append(
            f"The network behind {', '.join(titles)} was also in a loss of the training: these "
            "lines flatter the run."
        )
    sections = [Section("What was judged", "\n".join(lines))]
    for name, title in TITLES.items():
        if name not in summary:
            text = "No pairs: the dataset shows one person alone."
            sections.append(Section(title, text))
            continue
        table = Table(_COLUMNS, [cells(row) for row in metric_rows(summary, name)])
        sections.append(Section(title, f"{_HOW[name]}\n{_failures(summary[name])}", table))
        picture = Picture(
            ledger.store.get(commit.output(f"{name}.png").key),
            "image/png",
            f"The best, the middle and the worst frame by {RANKED_BY[name].upper()}.",
        )
        sections.append(Section(f"{title}: pictures", pictures=[picture]))
    sections.append(
        Section(
            "Why the paper's numbers are not comparable",
            "They are of other films (VFHQ, TalkingHead-1KH), 256 px, and a network of another "
            "size. Better or worse than the paper cannot be read off these tables.\n"
            + "\n".join(NOT_COMPARABLE.values()),
        )
    )
    return [*sections, *_by_clip(summary)]


def _failures(of_protocol: Mapping[str, Any]) -> str:
    if not of_protocol["failed"]:
        return f"All {of_protocol['frames']} frames could be measured."
    reasons = ", ".join(f"{reason}: {count}" for reason, count in of_protocol["reasons"].items())
    return (
        f"{of_protocol['failed']} of {of_protocol['frames']} frames could not be measured in full "
        f"({reasons}); they count as failed below, and in no mean."
    )


def _by_clip(summary: Mapping[str, Any]) -> list[Section]:
    sections = []
    for name, ranked_by in RANKED_BY.items():
        if name not in summary:
            continue
        shown = [metric for metric in METRICS if metric.name in {"psnr", ranked_by, "csim", "aed"}]
        shown = [metric for metric in shown if metric.name in summary[name]["metrics"]]
        heads = [head for metric in shown for head in (metric.title, "copy")]
        rows = [
            (
                clip["driving_clip"][:8],
                clip["source_clip"][:8],
                clip["frames"],
                clip["failed"],
                *(_number(_mean(clip["metrics"], one.name, who))
                  for one in shown for who in ("generated", "copy")),
            )
            for clip in summary[name]["by_clip"]
        ]  # fmt: skip
        columns = ("driving clip", "source clip", "frames", "failed", *heads)
        sections.append(Section(f"{TITLES[name]}, clip by clip", table=Table(columns, rows)))
    return sections


def _expressions(ledger: Ledger, commit: Commit) -> list[Section]:
    codes = _json(ledger, commit, NUMBERS)["codes"]
    identity = ("identity", "identity_other_clips")
    rows: list[Sequence[object]] = []
    for name, title in zip(identity, ("neighbours tell the person", "... from other clips"),
                           strict=True):  # fmt: skip
        rows.append(
            (f"{title}: accuracy", *(_at(code, name, "accuracy") for code in codes.values()))
        )
        rows.append((f"{title}: chance", *(_at(code, name, "chance") for code in codes.values())))
    rows.append(("silhouette of persons", *(_at(code, "silhouette") for code in codes.values())))
    for probe in next(iter(codes.values()))["probes"]:
        of_codes = (_at(code, "probes", probe, "r") for code in codes.values())
        rows.append((f"{probe.replace('_', ' ')} can be read off: r", *of_codes))
    text = (
        "Beta are the coefficients of the face model, beta prime what the encoder makes of them. "
        "An encoder that has learned forgets the person and keeps the mouth. Beta less person has "
        "every person's own mean taken off: what it still tells is not who they are, but what "
        "they said and felt in their films."
    )
    table = Table(("", *(code.replace("_", " ") for code in codes)), rows)
    return [Section("Expression encoder", text, table, _pictures(ledger, commit))]


def _views(ledger: Ledger, commit: Commit) -> list[Section]:
    legends = _json(ledger, commit, LEGEND)["pictures"]
    captions = {name: str(legend["caption"]) for name, legend in legends.items()}
    return [Section("Views", pictures=_pictures(ledger, commit, captions))]


_SECTIONS = {"evaluation": _evaluation, "expressions": _expressions, "views": _views}


def _pictures(
    ledger: Ledger, commit: Commit, captions: Mapping[str, str] | None = None
) -> list[Picture]:
    return [
        Picture(ledger.store.get(one.key), "image/png", (captions or {}).get(one.name, ""))
        for one in commit.outputs
        if one.name.endswith(".png")
    ]


def _row(metric: Metric, found: Mapping[str, Any], protocol: Protocol) -> MetricRow:
    return MetricRow(
        metric=metric,
        generated=found["generated"]["mean"],
        copy=found["copy"]["mean"],
        better_share=found.get("better_share"),
        driver=found["driver"]["mean"] if "driver" in found else None,
        paper_vfhq=VFHQ.value(OURS, protocol, metric.name),
        paper_talking_head=TALKING_HEAD_1KH.value(OURS, protocol, metric.name),
        measured=found["generated"]["measured"],
        failed=found["generated"]["failed"],
    )


def _mean(metrics: Mapping[str, Any], name: str, whose: str) -> float | None:
    mean: float | None = metrics.get(name, {}).get(whose, {}).get("mean")
    return mean


def _at(value: Any, *path: str) -> str:
    for name in path:
        value = None if value is None else value[name]
    return _number(value)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _json(ledger: Ledger, commit: Commit, name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(ledger.store.get(commit.output(name).key))
    return value
