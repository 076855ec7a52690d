"""A bounded sample of the frames of a dataset: poses, expressions and scores, as numbers to plot.

Shapes: S sampled frames, E shown expression coefficients, K 68 landmarks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.landmarks.openings import face_openings
from storage.schemas import FaceWidths

Array = NDArray[np.float64]

SCORES = ("sharpness", "occlusion", "reprojection_iod")
_OF_ANGLES = ("pitch_deg", "yaw_deg", "roll_deg")
_OF_FACE = ("face_px", "mouth_opening", "eye_opening")
SHOWN_COEFFICIENTS = 16


@dataclass(frozen=True, eq=False)
class FrameSample:
    """Every `stride`-th frame of some films, NaN where a number is not known.

    ok: measures [S] of ok frames by name: pitch_deg, yaw_deg, roll_deg, face_px (of the frame's
    clip), mouth_opening and eye_opening (in distances between the eyes' centres), and SCORES.
    rejected: SCORES of frames that are not ok and have scores. expression_SE: of the ok frames.
    """

    films: int
    stride: int
    ok: Mapping[str, Array]
    rejected: Mapping[str, Array]
    expression_SE: Array

    @property
    def frames(self) -> int:
        """Number of ok frames in the sample."""
        return len(self.expression_SE)


class FrameSampler:
    """Takes in rows of `frames` one by one, and keeps every `stride`-th of a kind."""

    COLUMNS = ("landmarks", "expression", "angles", "outcome", *SCORES)
    """The columns of `frames` that it reads."""

    def __init__(self, stride: int, widths: FaceWidths) -> None:
        self.films = 0
        self._stride = stride
        self._shown = min(SHOWN_COEFFICIENTS, widths.expression)
        self._seen = {True: 0, False: 0}
        self._ok: list[list[float]] = []
        self._rejected: list[list[float]] = []
        self._expression: list[Array] = []

    def see(self, row: Mapping[str, Any], face_px: float | None) -> None:
        """Take in a row of a clip whose face is `face_px` high."""
        is_ok = row["outcome"] == "ok"
        self._seen[is_ok] += 1
        if (self._seen[is_ok] - 1) % self._stride:
            return
        scores = [_number(row[name]) for name in SCORES]
        if not is_ok:
            self._rejected.append(scores)
            return
        openings = _openings(row["landmarks"])
        self._ok.append([*np.rad2deg(row["angles"]), _number(face_px), *openings, *scores])
        self._expression.append(np.asarray(row["expression"][: self._shown], np.float64))

    def sample(self) -> FrameSample:
        """Return what was kept."""
        names = (*_OF_ANGLES, *_OF_FACE, *SCORES)
        return FrameSample(
            films=self.films,
            stride=self._stride,
            ok=_by_name(self._ok, names),
            rejected=_by_name(self._rejected, SCORES),
            expression_SE=np.array(self._expression, np.float64).reshape(-1, self._shown),
        )


def _openings(landmarks: list[float] | None) -> tuple[float, float]:
    """Return how far mouth and eyes of a row are open; NaN where it has no landmarks."""
    if landmarks is None:
        return float("nan"), float("nan")
    mouth_1, eyes_1 = face_openings(np.asarray(landmarks, np.float64).reshape(1, 68, 2))
    return float(mouth_1[0]), float(eyes_1[0])


def _by_name(rows: list[list[float]], names: tuple[str, ...]) -> dict[str, Array]:
    columns = np.array(rows, np.float64).reshape(-1, len(names)).T
    return dict(zip(names, columns, strict=True))


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
