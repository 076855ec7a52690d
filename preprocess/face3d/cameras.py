"""Camera labels of a clip, from its coefficients, its alignment and its crop boxes."""

from dataclasses import replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from model.geometry.camera import label_eg3d_orig, label_exact
from preprocess.crop import Alignment, CropBoxes, smooth
from preprocess.face3d.mesh478 import Coefficients

Array = npt.NDArray[np.float64]

_MOST_JITTER = np.array([0.012, 0.012, 0.012, 0.006, 0.006, 0.08])
"""Radians, then decimetres across and in depth."""


class CameraMode(StrEnum):
    """Which camera a dataset carries; never both (Spec 2.2.4)."""

    EXACT = "exact"
    EG3D_ORIG = "eg3d_orig"


def camera_labels(
    coefficients: Coefficients, alignment: Alignment, boxes: CropBoxes, mode: CameraMode
) -> Array:
    """Labels [T,25]; the alignment must be the one that the coefficients were fitted under."""
    angles_T3, translation_T3 = coefficients.angles_T3, coefficients.translation_T3
    if mode is CameraMode.EG3D_ORIG:
        return label_eg3d_orig(angles_T3, translation_T3)
    return label_exact(
        angles_T3,
        translation_T3,
        origin_px=alignment.origin_T2,
        scale_px=alignment.scale_T,
        box_centre_px=boxes.centre_T2,
        box_side_px=boxes.side_T,
    )


def smooth_pose(
    coefficients: Coefficients, ticks_T: npt.NDArray[np.int64], sigma_frames: float
) -> Coefficients:
    """Angles and translations smoothed over one span, for film work (Spec 2.10.4).

    No more is taken away than jitter is: a translation is relative to its alignment, which is
    smooth already, so it holds how a fast head departs from that, and the face must stay there.
    """
    pose = np.c_[coefficients.angles_T3, coefficients.translation_T3]
    change = smooth(pose, ticks_T, sigma_frames) - pose
    even = pose + np.clip(change, -_MOST_JITTER, _MOST_JITTER)
    return replace(coefficients, angles_T3=even[:, :3], translation_T3=even[:, 3:])
