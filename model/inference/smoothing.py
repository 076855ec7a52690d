"""Light smoothing of a performance's expression over time (Spec 2.10.5).

The fit of a face model wavers from frame to frame. A narrow Gaussian takes much of that out; what
it would also take are closures of the mouth, which last a frame or two and are what eyes look for
when a film is dubbed. So the smoothing of a frame goes only as far as it leaves the lips about
where they are: a mouth at rest or in a steady course is smoothed, one that closes is not.

Shapes: F frames of the film, E expression coefficients.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

_MOST_SIGMA_FRAMES = 1.0
_RADIUS_SIGMAS = 4


@dataclass(frozen=True)
class SmoothingConfig:
    """How much the expression is smoothed."""

    sigma_frames: float = 0.7
    """Standard deviation of the Gaussian in frames of the film, 0 to 1; 0 leaves all as it is."""
    max_mouth_change: float = 0.005
    """How far smoothing may open or shut the mouth in a frame, in distances between the eyes: a
    third of a pixel in a crop of 256. It keeps closures, and the speed at which mouths open."""

    def __post_init__(self) -> None:
        if not 0 <= self.sigma_frames <= _MOST_SIGMA_FRAMES:
            raise ValueError(f"sigma_frames is {self.sigma_frames}; allowed is 0 to 1")
        if not self.max_mouth_change >= 0:
            raise ValueError(f"max_mouth_change is {self.max_mouth_change}; allowed is 0 or more")


def smooth_expression(
    exp_FE: NDArray[np.float32],
    known_F: NDArray[np.bool_],
    config: SmoothingConfig,
    *,
    segment_F: NDArray[np.generic] | None = None,
    mouth_F: NDArray[np.floating] | None = None,
) -> NDArray[np.float32]:
    """Return the expressions [F,E] float32, smoothed within stretches of known frames.

    A stretch ends where a frame is not known, or where the label in `segment_F` (a number or a
    name of the shot, any type) changes: nothing is mixed across cuts or gaps. Frames that are not
    known keep their values, and so do the ends of a stretch; a straight course stays one.

    `mouth_F` is how far the mouth is open, in distances between the eyes. Where the same Gaussian
    would change it by more than `max_mouth_change`, the frame takes only so large a share of its
    smoothing as changes it by that. Near frames where it is NaN, or where it is not given, nothing
    is held back. Raises ValueError where lengths differ.
    """
    for name, values in (("known_F", known_F), ("segment_F", segment_F), ("mouth_F", mouth_F)):
        if values is not None and len(values) != len(exp_FE):
            raise ValueError(f"{name} speaks of {len(values)} frames, and there are {len(exp_FE)}")
    if config.sigma_frames == 0:
        return exp_FE
    out_FE = exp_FE.copy()
    for stretch in _stretches(known_F, segment_F):
        own_FE = exp_FE[stretch].astype(np.float64)
        change_FE = _gaussian(own_FE, config.sigma_frames) - own_FE
        if mouth_F is not None:
            mouth_F1 = mouth_F[stretch].astype(np.float64)[:, None]
            moved_F1 = np.abs(_gaussian(mouth_F1, config.sigma_frames) - mouth_F1)
            too_far_F1 = moved_F1 > config.max_mouth_change  # False for NaN
            change_FE *= np.divide(
                config.max_mouth_change, moved_F1, out=np.ones_like(moved_F1), where=too_far_F1
            )
        out_FE[stretch] = own_FE + change_FE
    return out_FE


def _stretches(known_F: NDArray[np.bool_], segment_F: NDArray[np.generic] | None) -> list[slice]:
    """Return the longest runs of neighbouring known frames of one segment."""
    ends_F = known_F[1:] != known_F[:-1]
    if segment_F is not None:
        ends_F = ends_F | (segment_F[1:] != segment_F[:-1])
    edges = [0, *(np.flatnonzero(ends_F) + 1).tolist(), len(known_F)]
    runs = (slice(a, b) for a, b in pairwise(edges) if b > a)
    return [run for run in runs if known_F[run.start]]


def _gaussian(values_FC: NDArray[np.float64], sigma_frames: float) -> NDArray[np.float64]:
    """Smooth one stretch; point reflection at its ends keeps them, and every steady drift."""
    radius = min(int(np.ceil(_RADIUS_SIGMAS * sigma_frames)), len(values_FC) - 1)
    if radius == 0:
        return values_FC
    padded = np.pad(values_FC, ((radius, radius), (0, 0)), mode="reflect", reflect_type="odd")
    even = gaussian_filter1d(padded, sigma_frames, axis=0, mode="nearest", radius=radius)
    return np.asarray(even[radius:-radius], np.float64)
