"""Nose-centred square crops: alignment, boxes over time, exact warps (Spec 2.1.4, 2.2.2, 2.10.4).

Coordinates are continuous pixels: the picture spans [0, W] x [0, H], y down, and the centre of the
first pixel is (0.5, 0.5). Shapes: T frames, K points, C channels.
"""

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

Array = npt.NDArray[np.float64]
Rgb = npt.NDArray[np.uint8]

# Spec 2.2.2: image-left eye, image-right eye, nose tip, image-left and image-right mouth corner in
# decimetres; x right in the image, y up, z toward the viewer.
CANONICAL_K3: Array = np.array(
    [
        [-0.31149, 0.29036, 0.13378],
        [0.30980, 0.28972, 0.13180],
        [0.00325, -0.04618, 0.55244],
        [-0.25217, -0.38134, 0.22406],
        [0.24847, -0.38128, 0.22236],
    ]
)
_NOSE = 2
BOX_DM = 700 / 300  # EG3D's crop: 700 px of a canvas on which one decimetre has 300


class Centre(StrEnum):
    """What lies at the middle of the crop."""

    NOSE = "nose"  # its tip, in every pose
    ORIGIN = "origin"  # of the face frame, as EG3D has it: a frontal nose lies 5 px below


class Align(StrEnum):
    """How the crop box follows the face."""

    PER_FRAME = "per_frame"
    SMOOTHED = "smoothed"
    FIXED_BOX = "fixed_box"


@dataclass(frozen=True)
class CropConfig:
    """How frames become square crops."""

    align: Align = Align.PER_FRAME  # per_frame is the published crop; film work wants smoothed
    centre: Centre = Centre.NOSE  # nose-centred as the paper says; origin is EG3D's
    size_px: int = 256  # side of the crop that the networks see
    sigma_frames: float = 2.0  # smoothed only: takes out the 1..2 % jitter of scale, keeps nods

    def __post_init__(self) -> None:
        if self.size_px < 8:
            raise ValueError(f"size_px is {self.size_px}; a crop needs at least 8")
        if not self.sigma_frames > 0:
            raise ValueError(f"sigma_frames is {self.sigma_frames}; it must be above 0")


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where the origin of the face frame falls in each frame, and how large a decimetre is there.

    origin_T2 in px (y down), scale_T in px per decimetre.
    """

    origin_T2: Array
    scale_T: Array


@dataclass(frozen=True, eq=False)
class CropBoxes:
    """Upright squares in px of the film frame: centre_T2 and side_T."""

    centre_T2: Array
    side_T: Array


def align_points(points5_TK2: Array) -> Alignment:
    """Fit the five canonical points to five landmarks per frame [T,5,2] px (Spec 2.2.2).

    The 10 x 8 least squares of the reference falls into two 5 x 4 ones with one design matrix, and
    measuring y upward only turns a sign, so neither the full system nor the picture's height is
    needed.
    """
    design = np.c_[CANONICAL_K3, np.ones(len(CANONICAL_K3))]
    rows_T24 = np.einsum("dk,tkc->tcd", np.linalg.pinv(design), points5_TK2)
    scale_T = np.linalg.norm(rows_T24[..., :3], axis=-1).mean(axis=-1)
    return Alignment(origin_T2=rows_T24[..., 3], scale_T=scale_T)


def smooth(values_TC: Array, ticks_T: npt.NDArray[np.int64], sigma_frames: float) -> Array:
    """Zero-phase Gaussian over time, standard deviation in frames, within one span.

    Gaps between the ascending `ticks_T` are bridged by straight lines; the ends are continued by
    point reflection, so that a steady drift stays as it is.
    """
    grid = np.arange(ticks_T[0], ticks_T[-1] + 1)
    radius = min(int(np.ceil(4 * sigma_frames)), len(grid) - 1)
    if radius == 0:
        return values_TC.copy()
    dense = np.stack([np.interp(grid, ticks_T, column) for column in values_TC.T], axis=1)
    padded = np.pad(dense, ((radius, radius), (0, 0)), mode="reflect", reflect_type="odd")
    even = gaussian_filter1d(padded, sigma_frames, axis=0, mode="nearest", radius=radius)
    smoothed: Array = even[radius:-radius][ticks_T - ticks_T[0]]
    return smoothed


def follow(alignment: Alignment, ticks_T: npt.NDArray[np.int64], config: CropConfig) -> Alignment:
    """Give the alignment that crop and camera share: smoothed over one span, or as it was."""
    if config.align is not Align.SMOOTHED:
        return alignment
    joined = np.c_[alignment.origin_T2, np.log(alignment.scale_T)]
    even = smooth(joined, ticks_T, config.sigma_frames)
    return Alignment(origin_T2=even[:, :2], scale_T=np.exp(even[:, 2]))


def crop_centres(
    alignment: Alignment,
    points5_TK2: Array,
    ticks_T: npt.NDArray[np.int64],
    config: CropConfig,
) -> Array:
    """Middles [T,2] of the crops of one span, in px of the film; smoothed as the alignment is."""
    if config.centre is Centre.ORIGIN:
        return alignment.origin_T2
    nose_T2 = points5_TK2[:, _NOSE]
    if config.align is not Align.SMOOTHED:
        return nose_T2
    return smooth(nose_T2, ticks_T, config.sigma_frames)


def crop_boxes(centre_T2: Array, scale_T: Array, align: Align) -> CropBoxes:
    """Squares of side (700/300) s_pos (Spec 2.1.4) about their middles; one for all if `fixed_box`.

    The fixed box is the smallest square about the middle that holds every frame's box, so that
    the face can move in it and never leaves it.
    """
    side_T = BOX_DM * scale_T
    if align is not Align.FIXED_BOX:
        return CropBoxes(centre_T2, side_T)
    low = (centre_T2 - side_T[:, None] / 2).min(axis=0)
    high = (centre_T2 + side_T[:, None] / 2).max(axis=0)
    return CropBoxes(
        centre_T2=np.broadcast_to((low + high) / 2, centre_T2.shape).copy(),
        side_T=np.full(side_T.shape, (high - low).max()),
    )


def crop_affines(boxes: CropBoxes, size_px: int) -> Array:
    """Affines [T,3,3] that take film px to crop px."""
    zoom_T = size_px / boxes.side_T
    affine_T33 = np.zeros((*zoom_T.shape, 3, 3))
    affine_T33[..., 0, 0] = affine_T33[..., 1, 1] = zoom_T
    affine_T33[..., :2, 2] = size_px / 2 - zoom_T[..., None] * boxes.centre_T2
    affine_T33[..., 2, 2] = 1
    return affine_T33


def transform(affine_33: Array, points_K2: Array) -> Array:
    """Points [...,K,2] under an affine [...,3,3]."""
    return points_K2 @ np.swapaxes(affine_33[..., :2, :2], -1, -2) + affine_33[..., None, :2, 2]


def inverse(affine_33: Array) -> Array:
    """Affine [...,3,3] of the way back, say from crop px to film px."""
    return np.asarray(np.linalg.inv(affine_33), np.float64)


def warp(picture: Rgb, affine_33: Array, width_px: int, height_px: int) -> Rgb:
    """Resample `picture` [H,W,C] so that a point p of it lands at affine p; black outside.

    No coordinate is rounded to whole pixels. Where the picture grows it is sampled bicubically, at
    positions true to 1/32 px. Where it shrinks k-fold, blocks of floor(k) x floor(k) pixels are
    averaged first, the rest is sampled bilinearly on a grid twice as fine and averaged, so that
    every pixel of the picture counts. Only the part that the target shows is read.
    """
    shrink = 1 / np.sqrt(abs(np.linalg.det(affine_33[:2, :2])))
    block = max(1, int(shrink + 1e-6))
    low, high = _reached(inverse(affine_33), width_px, height_px, picture, margin_px=3 * block)
    if not (high > low).all():
        return np.zeros((height_px, width_px, picture.shape[2]), np.uint8)
    part = _block_means(picture[low[1] : high[1], low[0] : high[0]], block)
    finer = 2 if shrink > block * (1 + 1e-6) else 1
    from_part = np.array([[block, 0, low[0]], [0, block, low[1]], [0, 0, 1]], np.float64)
    to_grid: Array = np.diag([finer, finer, 1.0]) @ affine_33 @ from_part
    # OpenCV puts the centre of the first pixel at 0, we at 0.5.
    to_grid[:2, 2] += to_grid[:2, :2] @ [0.5, 0.5] - 0.5
    kernel = cv2.INTER_LINEAR if shrink > 1 else cv2.INTER_CUBIC
    fine = cv2.warpAffine(part, to_grid[:2], (width_px * finer, height_px * finer), flags=kernel)
    return _block_means(np.asarray(fine, np.uint8), finer)


def warp_crop(rgb: Rgb, affine_33: Array, size_px: int) -> Rgb:
    """Crop of one film frame, [size,size,3], under its affine (film px to crop px)."""
    return warp(rgb, affine_33, size_px, size_px)


def unwarp_crop(crop: Rgb, affine_33: Array, width_px: int, height_px: int) -> Rgb:
    """Put a crop back at its place in a black film frame [H,W,3] under the same affine.

    Only the rectangle that the crop can touch is resampled.
    """
    to_film = inverse(affine_33)
    film = np.zeros((height_px, width_px, crop.shape[2]), np.uint8)
    low, high = _reached(to_film, crop.shape[1], crop.shape[0], film, margin_px=2)
    if (high > low).all():
        to_film[:2, 2] -= low
        patch = warp(crop, to_film, *(high - low).tolist())
        film[low[1] : high[1], low[0] : high[0]] = patch
    return film


def _reached(
    affine_33: Array, width_px: int, height_px: int, picture: Rgb, margin_px: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Corners (x, y) of the part of `picture` that a rectangle under an affine can touch."""
    corners = np.array([[0, 0], [width_px, 0], [0, height_px], [width_px, height_px]], np.float64)
    reached = transform(affine_33, corners)
    size = picture.shape[1::-1]
    low = np.clip(np.floor(reached.min(axis=0)) - margin_px, 0, size).astype(np.int64)
    high = np.clip(np.ceil(reached.max(axis=0)) + margin_px, 0, size).astype(np.int64)
    return low, high


def _block_means(picture: Rgb, block: int) -> Rgb:
    """Means of blocks of pixels; what lacks of the last ones, right and below, counts as black."""
    if block == 1:
        return picture
    height, width = (-(-side // block) for side in picture.shape[:2])
    below, right = height * block - picture.shape[0], width * block - picture.shape[1]
    whole = cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_CONSTANT)
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
