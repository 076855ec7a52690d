"""What a dataset covers: poses, expressions and scores of a sample of its frames, plotted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.recipes import PREPROCESS
from pipeline.reports.frame_sample import SCORES, Array, FrameSample
from pipeline.reports.page import Picture
from pipeline.reports.pictures import (
    BLUE,
    GREEN,
    ORANGE,
    Histogram,
    histograms,
    joint_histogram,
    percentile_bars,
)

LABELS: Mapping[str, str] = {
    "yaw_deg": "yaw, degrees (right +)",
    "pitch_deg": "pitch, degrees (down +)",
    "roll_deg": "roll, degrees",
    "face_px": "face height (median of the clip), film px",
    "mouth_opening": "mouth opening, inter-ocular distances",
    "eye_opening": "eye opening, inter-ocular distances",
    "sharpness": "sharpness, edge widths between the eyes",
    "occlusion": "occlusion, part of the skin",
    "reprojection_iod": "reprojection, inter-ocular distances",
}
"""Measures of a frame with their units, in the order of the page."""


_CELL_DEG = 2.0


@dataclass(frozen=True)
class Limits:
    """What a recipe asks of a frame: a lower and an upper limit by measure."""

    at_least: Mapping[str, float]
    at_most: Mapping[str, float]

    def of(self, measure: str) -> dict[str, float]:
        """Return the limits of a measure by what is said of them."""
        low, high = self.at_least.get(measure), self.at_most.get(measure)
        named = {"at least": low, "at most": high}
        return {f"{said} {value:.3g}": value for said, value in named.items() if value is not None}


def limits_of(recipe: str) -> Limits:
    """Return the limits of one of our recipes; none for a recipe that is not ours."""
    if recipe not in PREPROCESS:
        return Limits({}, {})
    made = PREPROCESS[recipe]()
    quality, yaw_deg = made.face3d.quality, float(np.rad2deg(made.face3d.quality.max_yaw_rad))
    return Limits(
        at_least={
            "yaw_deg": -yaw_deg,
            "sharpness": quality.min_sharpness,
            "face_px": made.crop.spans.min_face_px,
        },
        at_most={
            "yaw_deg": yaw_deg,
            "occlusion": quality.max_occlusion,
            "reprojection_iod": quality.max_reprojection,
        },
    )


def percentiles(sample: FrameSample) -> dict[str, dict[str, float]]:
    """Return the 5th, 50th and 95th percentile of each measure of the ok frames that is known."""
    found = {}
    for measure in LABELS:
        known = _known(sample.ok[measure])
        if known.size:
            low, middle, high = np.percentile(known, (5, 50, 95)).tolist()
            found[measure] = {"p5": low, "p50": middle, "p95": high}
    return found


def pose_pictures(sample: FrameSample, limits: Limits) -> list[Picture]:
    """Plot yaw against pitch, then roll and the size of faces."""
    yaw, pitch = sample.ok["yaw_deg"], sample.ok["pitch_deg"]
    yaw_limits = list(limits.of("yaw_deg").values())
    joint = joint_histogram(
        yaw,
        pitch,
        "Head poses of ok frames",
        labels=(LABELS["yaw_deg"], LABELS["pitch_deg"]),
        half_ranges=(_half_range([*yaw, *yaw_limits]), _half_range(pitch)),
        cell=_CELL_DEG,
        x_limits=yaw_limits,
    )
    panels = [_panel(sample, measure, limits) for measure in ("roll_deg", "face_px")]
    return [joint, histograms(panels, "Roll and size of the face in ok frames", columns=2)]


def expression_pictures(sample: FrameSample, limits: Limits) -> list[Picture]:
    """Plot the first expression coefficients, and how far mouth and eyes are open."""
    pictures = []
    if sample.expression_SE.shape[1]:
        pictures.append(
            percentile_bars(
                sample.expression_SE,
                "Expression coefficients of ok frames",
                x_label="expression coefficient",
                y_label="value",
            )
        )
    openings = ("mouth_opening", "eye_opening")
    panels = [_panel(sample, one, limits) for one in openings if _known(sample.ok[one]).size]
    if panels:
        caption = "Openings of mouth and eyes in ok frames"
        pictures.append(histograms(panels, caption, columns=len(panels)))
    return pictures


def score_picture(sample: FrameSample, limits: Limits) -> Picture:
    """Plot the scores of ok and rejected frames with the limits of the recipe."""
    panels = [
        Histogram(
            LABELS[score],
            {"ok": _known(sample.ok[score]), "rejected": _known(sample.rejected[score])},
            {"ok": GREEN, "rejected": ORANGE},
            limits.of(score),
        )
        for score in SCORES
    ]
    return histograms(panels, "Scores of frames in clips", logarithmic=True)


def _panel(sample: FrameSample, measure: str, limits: Limits) -> Histogram:
    colours = {"ok": BLUE}
    return Histogram(LABELS[measure], {"ok": sample.ok[measure]}, colours, limits.of(measure))


def _half_range(angles_deg: Iterable[float]) -> float:
    """Return how far the axis of an angle reaches, in whole cells."""
    furthest = max((abs(angle) for angle in angles_deg), default=0.0)
    return _CELL_DEG * float(np.ceil(max(furthest, 30.0) / _CELL_DEG) + 1)


def _known(values: Array) -> Array:
    return values[np.isfinite(values)]
