"""Rows of an evaluation summed up: by protocol, by metric, by clip. Failures are always counted."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model.evaluation.metrics import METRICS, Metric, summarise
from storage.identity import JSON

Row = Mapping[str, Any]

_OF = {"generated": "", "copy": "copy_", "driver": "driver_"}


def summary_of(rows: Sequence[Row]) -> dict[str, JSON]:
    """Return what the rows of one protocol say, as plain values.

    Of each metric and of generated, copy (the source in place of every frame) and driver (the film
    itself): mean, measured, failed; a mean of nothing is None. better_share is the part of the
    frames measured for both in which the generated one is nearer than the copy. by_clip has a row
    for each driving clip.
    """
    return {
        "pairs": len({(row["source_clip"], row["driving_clip"]) for row in rows}),
        "frames": len(rows),
        "failed": sum(bool(row["reason"]) for row in rows),
        "reasons": dict(sorted(Counter(row["reason"] for row in rows if row["reason"]).items())),
        "seen": dict(sorted(Counter(row["seen"] for row in rows).items())),
        "metrics": {metric.name: found for metric in METRICS if (found := _metric(rows, metric))},
        "by_clip": [_clip(own) for own in _by_clip(rows)],
    }


def _metric(rows: Sequence[Row], metric: Metric) -> dict[str, JSON]:
    found: dict[str, JSON] = {}
    for whose, prefix in _OF.items():
        values = [row[prefix + metric.name] for row in rows if prefix + metric.name in row]
        applicable = [value for value in values if value is not None]
        if applicable:
            summary = summarise(np.array(applicable))
            mean = None if math.isnan(summary.mean) else summary.mean
            found[whose] = {"mean": mean, "measured": summary.measured, "failed": summary.failed}
    if found and not metric.copying_is_best:
        found["better_share"] = _better_share(rows, metric)
    return found


def _better_share(rows: Sequence[Row], metric: Metric) -> float | None:
    pairs = [(row[metric.name], row[f"copy_{metric.name}"]) for row in rows]
    gains = np.array([own - copied for own, copied in pairs if None not in {own, copied}])
    gains = gains[~np.isnan(gains)]
    better = gains > 0 if metric.better == "higher" else gains < 0
    return float(better.mean()) if len(gains) else None


def _by_clip(rows: Sequence[Row]) -> list[list[Row]]:
    clips: dict[str, list[Row]] = {}
    for row in rows:
        clips.setdefault(row["driving_clip"], []).append(row)
    return list(clips.values())


def _clip(rows: Sequence[Row]) -> dict[str, JSON]:
    first = rows[0]
    return {
        "driving_clip": first["driving_clip"],
        "source_clip": first["source_clip"],
        "source_frame": first["source_frame"],
        "person": first["person"],
        "seen": first["seen"],
        "frames": len(rows),
        "failed": sum(bool(row["reason"]) for row in rows),
        "metrics": {metric.name: found for metric in METRICS if (found := _metric(rows, metric))},
    }
