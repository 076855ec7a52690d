"""Report of a training run: its curves, its samples, and what they mean."""

import json
from collections import defaultdict

from pipeline.reports.page import Picture, Report, Section, Table
from pipeline.reports.pictures import curves
from pipeline.stage import Item
from pipeline.stages.training import METRICS
from pipeline.training.runs import TrainedRun, finished
from storage.ledger import Commit, Ledger


def training_report(ledger: Ledger, run: TrainedRun, item: Item) -> Report:
    """Return the report of a run, complete or not."""
    ended = f"ended as {item.ended.outcome}: {item.ended.detail}" if item.ended else "is complete"
    return Report(
        title=f"Training run {run.name}",
        summary=f"Recipe {run.recipe} on dataset {run.dataset}. The run {ended}.",
        sections=run_sections(ledger, run),
    )


def run_sections(ledger: Ledger, run: TrainedRun) -> list[Section]:
    """Return curves and samples of every complete stage of a run."""
    sections: list[Section] = []
    for stage, commit in finished(ledger, run).items():
        series = _series(ledger, commit)
        plots = _plots(stage, series)
        sections.append(Section(f"Curves of {stage}", pictures=plots, table=_last(series)))
        sections += _samples(ledger, commit)
    return sections


def last_metrics(ledger: Ledger, run: TrainedRun) -> dict[str, float]:
    """Return the last value of every metric, by stage/name."""
    last: dict[str, float] = {}
    for stage, commit in finished(ledger, run).items():
        series = _series(ledger, commit)
        last |= {f"{stage}/{name}": values[-1] for name, (_, values) in series.items()}
    return last


def _series(ledger: Ledger, commit: Commit) -> dict[str, tuple[list[float], list[float]]]:
    lines = ledger.store.get(commit.output(METRICS).key).decode().splitlines()
    series: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for row in map(json.loads, lines):
        steps, values = series[row["name"]]
        steps.append(row["step"])
        values.append(row["value"])
    return dict(series)


def _plots(stage: str, series: dict[str, tuple[list[float], list[float]]]) -> list[Picture]:
    """One plot a metric; a name and its `_copy` baseline share theirs."""
    plots = []
    for name in series:
        if name.endswith("_copy"):
            continue
        together = {one: series[one] for one in (name, f"{name}_copy") if one in series}
        plots.append(curves(together, f"{stage}: {name}", y_label=name))
    return plots


def _last(series: dict[str, tuple[list[float], list[float]]]) -> Table:
    rows = [(name, steps[-1], f"{values[-1]:.4g}") for name, (steps, values) in series.items()]
    return Table(("metric", "step", "last value"), rows)


def _samples(ledger: Ledger, commit: Commit) -> list[Section]:
    outputs = [output for output in commit.outputs if output.name.startswith("samples-")]
    if not outputs:
        return []
    pictures = [
        Picture(ledger.store.get(output.key), "image/png", f"step {int(output.name[8:15])}")
        for output in dict.fromkeys((outputs[0], outputs[-1]))
    ]
    text = "Columns: source, driving frame (what should come out), generated, raw render, depth."
    return [Section("Samples", text, pictures=pictures)]
