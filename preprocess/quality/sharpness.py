"""How sharp a face is, whatever its contrast, its brightness and its size in the crop.

A second, known blur takes much from a sharp picture and little from a blurred one. For an edge of
Gaussian profile with standard deviation s, the energy of the gradient falls as 1/s, and a further
blur b makes it sqrt(s^2 + b^2); so the share that the blur leaves tells s. (The idea of comparing a
picture with its own blur is that of Crete et al. 2007, "The blur effect".)

Shapes: H and W of the crop.
"""

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Rgb = npt.NDArray[np.uint8]

_BLUR_EYES = 1 / 45  # inter-ocular distances: 1.5 px in a crop of 256; edges there have 0.5 to 1
_DIFFERENCE_VARIANCE = 1 / 3  # px^2; central differences blur by themselves
_FINEST_PX = 0.3  # below it the picture has more noise than edges
_COARSEST_PX = 100.0  # a picture without any structure counts as blurred by this much


def edge_width_px(picture_HW3: Rgb, blur_px: float) -> float:
    """Standard deviation in px of the profile of a picture's edges, 0.3 to 100.

    `blur_px` is that of the second blur: about the width which is to be told best. Lines thinner
    than it make the result smaller. Colours count by their luminance. A picture of less than 8 x 8
    pixels gets 100.
    """
    if min(picture_HW3.shape[:2]) < 8:
        return _COARSEST_PX
    grey = cv2.cvtColor(picture_HW3, cv2.COLOR_RGB2GRAY).astype(np.float32)
    before = _gradient_energy(grey)
    softer = np.asarray(cv2.GaussianBlur(grey, (0, 0), blur_px), np.float32)
    after = _gradient_energy(softer)
    if before <= 0:
        return _COARSEST_PX
    share = min(after / before, 1 - 1e-6)
    variance = blur_px**2 * share**2 / (1 - share**2) - _DIFFERENCE_VARIANCE
    return float(np.clip(np.sqrt(max(variance, 0)), _FINEST_PX, _COARSEST_PX))


def face_sharpness(crop_HW3: Rgb, box_4: Array, eyes_px: float) -> float:
    """How many edge widths lie between the eyes: inter-ocular distance over edge width.

    Only the box of the face (x0, y0, x1, y1 in px of the crop) is looked at, so that a sharp
    background does not speak for a blurred face. A crop that was enlarged from a small face is as
    blurred as one out of focus, and counts so.
    """
    limits = np.array(crop_HW3.shape[1::-1])
    low = np.clip(np.floor(box_4[:2]), 0, limits).astype(np.int64)
    high = np.clip(np.ceil(box_4[2:]), 0, limits).astype(np.int64)
    face = crop_HW3[low[1] : high[1], low[0] : high[0]]
    blur_px = max(_BLUR_EYES * eyes_px, _FINEST_PX)
    return eyes_px / edge_width_px(np.ascontiguousarray(face), blur_px)


def _gradient_energy(grey_HW: npt.NDArray[np.float32]) -> float:
    """Mean square of the central differences, without the rim that a blur has mirrored."""
    rim = 3
    across = (grey_HW[rim:-rim, 2:] - grey_HW[rim:-rim, :-2])[:, rim - 1 : -rim + 1]
    down = (grey_HW[2:, rim:-rim] - grey_HW[:-2, rim:-rim])[rim - 1 : -rim + 1]
    return float((across**2).mean() + (down**2).mean())
