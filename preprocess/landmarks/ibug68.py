"""The iBUG scheme of 68 landmarks, counted from 0."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_EYE_CORNERS = ((36, 39), (42, 45))
_NOSE_AND_MOUTH = (30, 48, 54)


def five_of_68(landmarks_682: Array) -> Array:
    """Eyes, nose tip and mouth corners [...,5,2] of iBUG landmarks [...,68,2] (Spec 2.2.1)."""
    eyes = [landmarks_682[..., list(corners), :].mean(axis=-2) for corners in _EYE_CORNERS]
    return np.stack([*eyes, *(landmarks_682[..., point, :] for point in _NOSE_AND_MOUTH)], axis=-2)
