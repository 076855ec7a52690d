"""Every measure of one source driven by one clip, for each frame (Spec 2.8).

Generated frames, the frames of the driving film and copies of the source go through the same
functions, so that what a detector adds of its own counts for all of them alike.

Shape suffixes: T frames, H height, W width, C colour, K points, E expression coefficients,
D dimensions of an identity embedding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.evaluation.metrics import (
    Bytes,
    Floats,
    aed,
    akd,
    akd_sum,
    apd3,
    apd6,
    csim,
    flicker,
    image_metrics,
    perceptual_distance,
    temporal_jitter,
)
from model.training.perceptual import Perceptual

EQUAL_IMAGES_DB = 100.0
"""PSNR of equal images, which is infinite: one repeated frame would make every mean so."""
PERCEPTUAL_EVERY = 6
"""Every sixth frame has a perceptual distance: neighbours look alike, and its network costs ten
times what a small generator does."""
STILL_LEVELS = 2
"""Of 255: a pixel that changes by no more from one frame of the film to the next stands still."""
STILL_SHARE = 0.01
"""Of the picture: where less stands still, flicker does not apply."""

Masked = np.ma.MaskedArray[Any, np.dtype[np.float64]]
Values = Mapping[str, Floats]
"""Metric to its values [T]; NaN could not be measured, masked does not apply."""


@dataclass(frozen=True, eq=False)
class MeasuredFrames:
    """Pictures of one person, in the order of a film, and what was measured in them.

    points_TK2 are in px of a picture of 256 px, angles_T3 in radians, translation_T3 in dm. A
    frame without a face is NaN in all of them. embedding_TD is None where no network that tells
    persons apart was at hand.
    """

    images_THWC: Bytes
    points_TK2: Floats
    expression_TE: Floats
    angles_T3: Floats
    translation_T3: Floats
    embedding_TD: Floats | None

    def __len__(self) -> int:
        return len(self.images_THWC)

    def at(self, frames: NDArray[np.int64]) -> "MeasuredFrames":
        """Return the frames at these places of the list, in this order."""
        return MeasuredFrames(
            images_THWC=self.images_THWC[frames],
            points_TK2=self.points_TK2[frames],
            expression_TE=self.expression_TE[frames],
            angles_T3=self.angles_T3[frames],
            translation_T3=self.translation_T3[frames],
            embedding_TD=None if self.embedding_TD is None else self.embedding_TD[frames],
        )


def same_identity_metrics(
    frames: MeasuredFrames,
    driving: MeasuredFrames,
    source: MeasuredFrames,
    frame_numbers: Sequence[int],
    perceptual: Perceptual | None,
) -> Values:
    """Return all metrics of frames that should equal the driving ones; `source` is one frame.

    frame_numbers [T] say which frames are neighbours in the film. Without a perceptual network
    or without embeddings the metrics that need them are left out.
    """
    images: dict[str, Floats] = image_metrics(frames.images_THWC, driving.images_THWC)
    images["psnr"] = np.minimum(images["psnr"], EQUAL_IMAGES_DB)
    if perceptual is not None:
        images["lpips"] = _perceptual(frames.images_THWC, driving.images_THWC, perceptual)
    return {
        **images,
        "akd": akd(frames.points_TK2, driving.points_TK2),
        "akd_sum": akd_sum(frames.points_TK2, driving.points_TK2),
        **cross_identity_metrics(frames, driving, source, frame_numbers),
        "flicker": _flicker(frames.images_THWC, driving.images_THWC, frame_numbers),
    }


def cross_identity_metrics(
    frames: MeasuredFrames,
    driving: MeasuredFrames,
    source: MeasuredFrames,
    frame_numbers: Sequence[int],
) -> Values:
    """Return the metrics that make sense where driver and source are two persons."""
    identity = {}
    if frames.embedding_TD is not None and source.embedding_TD is not None:
        identity["csim"] = csim(frames.embedding_TD, source.embedding_TD[0])
    return {
        **identity,
        "aed": aed(frames.expression_TE, driving.expression_TE),
        "apd3": apd3(frames.angles_T3, driving.angles_T3),
        "apd6": apd6(
            frames.angles_T3, frames.translation_T3, driving.angles_T3, driving.translation_T3
        ),
        "jitter": _jitter(frames.points_TK2, frame_numbers),
    }


def of_the_film(
    driving: MeasuredFrames, source: MeasuredFrames, frame_numbers: Sequence[int]
) -> Values:
    """Return what the driving frames themselves score where that is not simply perfect."""
    own = cross_identity_metrics(driving, driving, source, frame_numbers)
    still = _flicker(driving.images_THWC, driving.images_THWC, frame_numbers)
    return {**{name: own[name] for name in own if name in {"csim", "jitter"}}, "flicker": still}


def _perceptual(images_THWC: Bytes, driving_THWC: Bytes, distance: Perceptual) -> Masked:
    """Perceptual distance [T], masked but for every sixth frame."""
    values = _masked(len(images_THWC))
    chosen = slice(0, None, PERCEPTUAL_EVERY)
    values[chosen] = perceptual_distance(images_THWC[chosen], driving_THWC[chosen], distance)
    return values


def _jitter(points_TK2: Floats, frame_numbers: Sequence[int]) -> Masked:
    """Jitter [T], masked where the frames before and after are not at hand."""
    values = _masked(len(points_TK2))
    if len(points_TK2) >= 3:
        values[1:-1] = temporal_jitter(points_TK2)
    follows = _follows(frame_numbers)
    values[~(follows & np.append(follows[1:], False))] = np.ma.masked
    return values


def _flicker(images_THWC: Bytes, film_THWC: Bytes, frame_numbers: Sequence[int]) -> Masked:
    """Flicker [T] against the frame before; masked without it, and where nothing stands still."""
    values = _masked(len(images_THWC))
    for t in np.flatnonzero(_follows(frame_numbers)):
        change_HWC = np.abs(np.diff(film_THWC[t - 1 : t + 1].astype(np.int16), axis=0)[0])
        still_HW = change_HWC.max(axis=-1) <= STILL_LEVELS
        if still_HW.mean() >= STILL_SHARE:
            values[t] = flicker(images_THWC[t - 1 : t + 1], still_HW)[0]
    return values


def _follows(frame_numbers: Sequence[int]) -> NDArray[np.bool_]:
    """Whether each frame comes right after the one before it in the list, [T]."""
    return np.asarray(np.diff(np.asarray(frame_numbers), prepend=-2) == 1)


def _masked(frames: int) -> Masked:
    return np.ma.MaskedArray(np.zeros(frames), mask=np.ones(frames, np.bool_))
