"""A bounded sample of the frames of a dataset: poses, expressions and scores, as numbers to plot.

Shapes: S sampled frames, E shown expression coefficients, K 68 landmarks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.schemas import FaceWidths

Array = NDArray[np.float64]

SCORES = ("sharpness", "occlusion", "reprojection_iod")
_OF_ANGLES = ("pitch_deg", "yaw_deg", "roll_deg")
_OF_FACE = ("face_px", "mouth_opening", "eye_opening")
SHOWN_COEFFICIENTS = 16

# Points of the 68: corners and lids of both eyes, the middle of the inner lips.
_EYES = (slice(36, 42), slice(42, 48))
_LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))
_UPPER_LIP, _LOWER_LIP = 62, 66


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
        openings = face_openings(row["landmarks"])
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


def face_openings(landmarks: Any) -> tuple[float, float]:
    """Return how far mouth and eyes are open, in distances between the eyes' centres.

    `landmarks` are 68 (x, y) as 136 numbers in any unit, or None, which gives NaN. The mouth's is
    the gap of the inner lips, the eyes' the mean gap of the lids.
    """
    if landmarks is None:
        return float("nan"), float("nan")
    points_K2 = np.asarray(landmarks, np.float64).reshape(68, 2)
    right, left = (points_K2[eye].mean(axis=0) for eye in _EYES)
    between = np.linalg.norm(left - right)
    if not between > 0:
        return float("nan"), float("nan")
    lids = np.mean([np.linalg.norm(points_K2[up] - points_K2[down]) for up, down in _LIDS])
    lips = np.linalg.norm(points_K2[_UPPER_LIP] - points_K2[_LOWER_LIP])
    return float(lips / between), float(lids / between)


def _by_name(rows: list[list[float]], names: tuple[str, ...]) -> dict[str, Array]:
    columns = np.array(rows, np.float64).reshape(-1, len(names)).T
    return dict(zip(names, columns, strict=True))


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
