"""The picture that a fully convolutional detector sees: whole, no larger than asked for."""

import numpy as np

from preprocess.crop import Array

STEP_PX = 32  # the coarsest stride of YuNet and SCRFD: their inputs are whole numbers of it


def fit_canvas(height_px: int, width_px: int, longest_px: int) -> tuple[Array, tuple[int, int]]:
    """Affine [3,3] from a picture to the detector's input, and that input's width and height.

    The longer side shrinks to `longest_px`; a smaller picture stays as it is, because enlarging
    adds nothing to it and takes large faces out of the range that a detector knows. What lacks to
    whole strides, right and below, is black.
    """
    zoom = min(1.0, longest_px / max(height_px, width_px))
    width, height = (
        STEP_PX * max(1, int(np.ceil(zoom * side / STEP_PX - 1e-9)))
        for side in (width_px, height_px)
    )
    return np.diag([zoom, zoom, 1.0]), (width, height)
