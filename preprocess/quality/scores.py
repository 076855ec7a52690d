"""Scores of the frames of one clip, and what follows from them for its frames and for the clip.

Defaults come from 32 films (studio, webcam, telephone, strong expressions; in one of them hands).
Of 7321 frames of the 31 without hands they lose 14.

Shapes: T frames.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation

from preprocess.outcomes import FrameOutcome

Array = npt.NDArray[np.float64]


class QualityReason(StrEnum):
    """Why a clip is filtered; empty for a clip that is kept."""

    NONE = ""
    OCCLUDED = "occluded"
    TURNED_AWAY = "turned_away"
    BADLY_FITTED = "badly_fitted"
    BLURRY = "blurry"


@dataclass(frozen=True, eq=False)
class FrameScores:
    """One number per frame [T] each, for neighbouring frames of one clip.

    sharpness: edge widths between the eyes (`face_sharpness`). occlusion: part of the skin that is
    covered, 0 to 1 (`occlusion`). yaw_rad: of the fitted pose. reprojection: mean distance of the
    fitted model from the mesh, in inter-ocular distances. Raises ValueError where their lengths
    differ. NaN is a score that could not be had, and fails.
    """

    sharpness: Array
    occlusion: Array
    yaw_rad: Array
    reprojection: Array

    def __post_init__(self) -> None:
        lengths = {len(self.sharpness), len(self.occlusion), len(self.yaw_rad),
                   len(self.reprojection)}  # fmt: skip
        if len(lengths) != 1:
            raise ValueError(f"scores of one clip need one length, got {sorted(lengths)}")


@dataclass(frozen=True)
class QualityConfig:
    """What a frame, and a clip, must have."""

    min_sharpness: float = 32.0
    """Edge widths between the eyes; films have 45 and more, a blur of 3 px in a crop of 256 leaves
    22 to 30."""
    max_occlusion: float = 0.024
    """Part of the skin, 0 to 1, that visibly differs; folds of a broad smile reach 0.023."""
    occlusion_margin_frames: int = 5
    """Frames before and after an occluded one that count as occluded: at 25 fps, the 0.2 s in which
    a hand comes and goes, too small in the picture or too blurred to be seen."""
    max_yaw_rad: float = float(np.deg2rad(60))
    """Either way; beyond it the mesh network guesses the hidden half."""
    max_reprojection: float = 0.015
    """Inter-ocular distances; films have 0.001 to 0.004, hands and grimaces up to 0.009. It is for
    landmarks that have come off the face altogether."""
    max_lost_part: float = 0.5
    """Of the frames, 0 to 1; a clip that loses more is filtered as a whole, because what is left
    of it are splinters, and because occlusion is measured against the rest of the clip."""

    def __post_init__(self) -> None:
        for field in ("min_sharpness", "max_occlusion", "occlusion_margin_frames", "max_yaw_rad",
                      "max_reprojection", "max_lost_part"):  # fmt: skip
            if not getattr(self, field) >= 0:
                raise ValueError(f"{field} is {getattr(self, field)}; it must be at least 0")
        for field in ("max_occlusion", "max_lost_part"):
            if getattr(self, field) > 1:
                raise ValueError(f"{field} is {getattr(self, field)}; it must be at most 1")


_OUTCOMES = {
    QualityReason.OCCLUDED: FrameOutcome.OCCLUDED,
    QualityReason.TURNED_AWAY: FrameOutcome.OUT_OF_RANGE,
    QualityReason.BADLY_FITTED: FrameOutcome.LOW_CONFIDENCE,
    QualityReason.BLURRY: FrameOutcome.LOW_CONFIDENCE,
}


def frame_reasons(scores: FrameScores, config: QualityConfig) -> list[QualityReason]:
    """Why each frame fails, the first of the reasons in the order of `QualityReason`."""
    failing = _failing(scores, config)
    return [
        next((reason for reason, fails_T in failing.items() if fails_T[t]), QualityReason.NONE)
        for t in range(len(scores.sharpness))
    ]


def judge_frames(scores: FrameScores, config: QualityConfig) -> list[FrameOutcome]:
    """Outcome of each frame.

    Occluded frames are `occluded`, those turned away `out_of_range`; blurred and badly fitted ones
    are `low_confidence`, since their landmarks are not to be trusted.
    """
    return [_OUTCOMES.get(reason, FrameOutcome.OK) for reason in frame_reasons(scores, config)]


def judge_clip(scores: FrameScores, config: QualityConfig) -> QualityReason:
    """Why the clip is filtered: what fails most of its frames; empty for a clip that is kept.

    Ties go to the first in the order of `QualityReason`. A clip without frames is kept: its want
    of length is not for quality to judge.
    """
    reasons = [reason for reason in frame_reasons(scores, config) if reason]
    if not reasons or len(reasons) <= config.max_lost_part * len(scores.sharpness):
        return QualityReason.NONE
    counts = {reason: reasons.count(reason) for reason in _OUTCOMES}
    return max(counts, key=lambda reason: counts[reason])


def _failing(
    scores: FrameScores, config: QualityConfig
) -> dict[QualityReason, npt.NDArray[np.bool_]]:
    """Which frames [T] fail for each reason; comparisons are such that NaN fails."""
    covered_T = ~(scores.occlusion <= config.max_occlusion)
    if config.occlusion_margin_frames and covered_T.any():
        covered_T = binary_dilation(covered_T, iterations=config.occlusion_margin_frames)
    return {
        QualityReason.OCCLUDED: covered_T,
        QualityReason.TURNED_AWAY: ~(np.abs(scores.yaw_rad) <= config.max_yaw_rad),
        QualityReason.BADLY_FITTED: ~(scores.reprojection <= config.max_reprojection),
        QualityReason.BLURRY: ~(scores.sharpness >= config.min_sharpness),
    }
