"""Which frame of the actor becomes the source picture: a random frontal one (Spec 2.10.2).

Shapes: T frames.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class SourceFrameConfig:
    """When a frame is good enough to be the source."""

    max_angle_rad: float = np.deg2rad(10)
    """Largest pitch, yaw or roll of a frontal frame."""
    sharpest_part: float = 0.5
    """Of the frontal frames, this part with the greatest sharpness is drawn from."""


def choose_source_frame(
    angles_T3: npt.NDArray[np.floating],
    sharpness_T: npt.NDArray[np.floating],
    config: SourceFrameConfig,
    seed: int,
) -> int:
    """Return the index of the source frame: drawn with `seed` among the sharp frontal frames.

    Where no frame is frontal, the most frontal one is taken. Raises ValueError for no frames.
    """
    if len(angles_T3) == 0:
        raise ValueError("there is no frame to choose a source from")
    worst_T = np.abs(angles_T3).max(axis=1)
    frontal = np.flatnonzero(worst_T <= config.max_angle_rad)
    if frontal.size == 0:
        return int(worst_T.argmin())
    by_sharpness = frontal[np.argsort(-sharpness_T[frontal], kind="stable")]
    candidates = by_sharpness[: max(1, int(len(by_sharpness) * config.sharpest_part))]
    return int(np.random.default_rng(seed).choice(np.sort(candidates)))
