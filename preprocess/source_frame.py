"""Which frame of the actor becomes the source picture (Spec 2.10.2).

A source is wanted frontal, whole, sharp, with open eyes and a mouth that is shut or nearly so: what
is hidden in it the network has to invent in every frame that it draws.

Shapes: T frames, K 68 landmarks in the order of iBUG.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from preprocess.landmarks.openings import face_openings

Floats = npt.NDArray[np.floating]
Array = npt.NDArray[np.float64]

_TINY = 1e-9


@dataclass(frozen=True)
class SourceFrameConfig:
    """When a frame is good enough to be the source, and which of the good ones it is."""

    choice: Literal["best", "random"] = "best"
    """The best of the good frames, or one drawn among them with the seed, as in the paper."""
    max_angle_rad: float = float(np.deg2rad(10))
    """Largest pitch, yaw or roll of a frontal frame."""
    max_padding: float = 0.01
    """Part of the crop, 0 to 1, that may lie outside the film: a strip of 2 px in 256."""
    min_eyes: float = 0.95
    """Least opening of the eyes, as a part of what is usual for the person. Landmarks waver by
    about 5 %; in blinks less than 0.6 is left."""
    max_mouth: float = 0.05
    """Largest gap between the inner lips, in distances between the eyes: 3 px in a crop of 256.
    Shut mouths have 0.00 to 0.03, talking ones up to 0.4."""
    sharpest_part: float = 0.5
    """Of the frontal frames, 0 to 1, this part with the greatest sharpness is sharp. It compares a
    shot with itself: sharpness differs more between films than within one."""

    def __post_init__(self) -> None:
        if self.choice not in {"best", "random"}:
            raise ValueError(f"choice is {self.choice!r}; allowed is 'best' or 'random'")
        for name in ("max_angle_rad", "max_padding", "min_eyes", "max_mouth", "sharpest_part"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        if self.sharpest_part > 1:
            raise ValueError(f"sharpest_part is {self.sharpest_part}; it must be at most 1")


@dataclass(frozen=True)
class SourceFrame:
    """The chosen frame and why it was chosen; None for what was not measured.

    index: among the frames given. candidates: from how many it was chosen. given_up: of "frontal",
    "whole" (no padding), "eyes open", "mouth shut" and "sharp", what no frame had together with
    those before it that were not given up. angles_deg: pitch, yaw, roll. sharpness: as given.
    eyes: their opening, 1 is usual for the person. mouth: gap of the lips in distances between the
    eyes. padding: part of the crop outside the film.
    """

    index: int
    candidates: int
    given_up: tuple[str, ...]
    angles_deg: tuple[float, float, float]
    sharpness: float
    eyes: float | None = None
    mouth: float | None = None
    padding: float | None = None


def find_source_frame(
    angles_T3: Floats,
    sharpness_T: Floats,
    config: SourceFrameConfig,
    seed: int,
    *,
    landmarks_TK2: Floats | None = None,
    padding_T: Floats | None = None,
) -> SourceFrame:
    """Return the source among frames of one shot, all of which show the actor's face.

    Angles in radians, landmarks in any unit, `padding_T` as `padding_of_crops` gives it. Landmarks
    or padding may be missing, as a whole or for single frames (landmarks of no extent, NaN): what
    is not known of any frame is not asked for. Frames are narrowed down by one requirement after
    the other, and one that none of the frames left has is given up; so there is always a source.
    Where no frame is frontal it is the most frontal one. Raises ValueError for no frames.

    Eyes are compared with the person's own: the measure of wide open eyes of one person is that of
    half-shut eyes of another. What is usual is the median of the frontal frames, since blinks
    are short and a lowered head makes lids look lower. The best frame has the least sum of shares:
    of the largest angle, of the largest gap of the lips, of sharpness missing to the sharpest
    frame, of the eyes' difference from usual, of padding. `seed` draws where the choice is random.
    """
    if len(angles_T3) == 0:
        raise ValueError("there is no frame to choose a source from")
    looks = _looks(angles_T3, sharpness_T, landmarks_TK2, padding_T, config)
    good, given_up = _good_frames(looks, config)
    if config.choice == "random":
        chosen = int(np.random.default_rng(seed).choice(good))
    else:
        chosen = int(good[_flaws(looks, config)[good].argmin()])
    pitch, yaw, roll = np.rad2deg(angles_T3[chosen]).tolist()
    return SourceFrame(
        index=chosen,
        candidates=len(good),
        given_up=given_up,
        angles_deg=(pitch, yaw, roll),
        sharpness=float(sharpness_T[chosen]),
        eyes=_number(looks.eyes_T[chosen]),
        mouth=_number(looks.mouth_T[chosen]),
        padding=_number(looks.padding_T[chosen]),
    )


def padding_of_crops(affine_T33: Array, crop_px: int, width_px: int, height_px: int) -> Array:
    """Return which part [T] of each crop, 0 to 1, lies outside its film of that size.

    `affine_T33` take film px to crop px, and the crops are upright squares, as
    `preprocess.crop.crop_affines` makes them.
    """
    zoom_T1 = affine_T33[:, 0, 0, None]
    low_T2 = -affine_T33[:, :2, 2] / zoom_T1
    high_T2 = low_T2 + crop_px / zoom_T1
    inside_T2 = np.minimum(high_T2, [width_px, height_px]) - np.maximum(low_T2, 0)
    inside_T = (np.maximum(inside_T2, 0) * zoom_T1 / crop_px).prod(axis=1)
    return np.asarray(np.clip(1 - inside_T, 0, 1), np.float64)


@dataclass(frozen=True, eq=False)
class _Looks:
    """What counts of each frame; NaN where it is not known."""

    turned_T: Floats
    frontal_T: npt.NDArray[np.bool_]
    sharpness_T: Floats
    eyes_T: Array
    mouth_T: Array
    padding_T: Floats


def _looks(
    angles_T3: Floats,
    sharpness_T: Floats,
    landmarks_TK2: Floats | None,
    padding_T: Floats | None,
    config: SourceFrameConfig,
) -> _Looks:
    turned_T = np.abs(angles_T3).max(axis=1)
    frontal_T = turned_T <= config.max_angle_rad
    unknown_T = np.full(len(angles_T3), np.nan)
    mouth_T, lids_T = unknown_T, unknown_T
    if landmarks_TK2 is not None:
        mouth_T, lids_T = face_openings(landmarks_TK2)
    compared_T = (frontal_T if frontal_T.any() else True) & (lids_T > 0)
    usual = float(np.median(lids_T[compared_T])) if compared_T.any() else float("nan")
    return _Looks(
        turned_T=turned_T,
        frontal_T=frontal_T,
        sharpness_T=sharpness_T,
        eyes_T=lids_T / usual,
        mouth_T=mouth_T,
        padding_T=unknown_T if padding_T is None else padding_T,
    )


def _good_frames(
    looks: _Looks, config: SourceFrameConfig
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Return the frames that meet what can be met, and the names of what was given up."""
    good = np.flatnonzero(looks.frontal_T)
    if not good.size:
        return np.array([looks.turned_T.argmin()]), ("frontal",)
    given_up = []
    for name, values_T, met_T in (
        ("whole", looks.padding_T, looks.padding_T <= config.max_padding),
        ("eyes open", looks.eyes_T, looks.eyes_T >= config.min_eyes),
        ("mouth shut", looks.mouth_T, looks.mouth_T <= config.max_mouth),
        ("sharp", looks.sharpness_T, _sharp(looks, config.sharpest_part)),
    ):
        if np.isnan(values_T).all():
            continue
        left = good[met_T[good]]
        if left.size:
            good = left
        else:
            given_up.append(name)
    return good, tuple(given_up)


def _sharp(looks: _Looks, part: float) -> npt.NDArray[np.bool_]:
    """Return which frames are as sharp as the sharpest part of the frontal ones."""
    falling = np.sort(looks.sharpness_T[looks.frontal_T])[::-1]
    least = falling[max(1, int(len(falling) * part)) - 1]
    return np.asarray(looks.sharpness_T >= least, np.bool_)


def _flaws(looks: _Looks, config: SourceFrameConfig) -> Array:
    """Return how far each frame is from perfect: each measure counts 1 at its limit."""
    sharpest = max(float(looks.sharpness_T.max()), _TINY)
    shares_5T = np.stack(
        [
            looks.turned_T / config.max_angle_rad,
            looks.mouth_T / config.max_mouth,
            1 - looks.sharpness_T / sharpest,
            np.abs(looks.eyes_T - 1),
            looks.padding_T / config.max_padding,
        ]
    )
    # What is not known of a frame counts as if it were at its limit.
    return np.asarray(np.nan_to_num(shares_5T, nan=1.0).sum(axis=0), np.float64)


def _number(value: np.floating) -> float | None:
    return None if np.isnan(value) else float(value)
