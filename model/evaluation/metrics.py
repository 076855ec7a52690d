"""Measures of the evaluation protocol (Spec 2.8, 7), each per frame, and their summary.

A frame that could not be measured (no face found in it, say) is NaN in the arrays given and in
the values returned; `summarise` counts it as failed, so nothing is dropped silently. A frame to
which a measure does not apply (jitter at the end of a stretch) is masked, and is not counted.

Shape suffixes: T frames, H height, W width, C colour, K points, D dimensions.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model.training.data import to_signed
from model.training.perceptual import Perceptual

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]

SSIM_TAPS = 11
SSIM_SIGMA = 1.5
POINTS_PX = 256
"""Key-points are given in px of a picture of this side, whatever the network's size (Spec 2.8)."""


@dataclass(frozen=True)
class Metric:
    """One measure of the protocol, for tables."""

    name: str
    title: str
    better: Literal["higher", "lower"]
    meaning: str
    copying_is_best: bool = False
    """Copying the source scores best by construction: the film itself is what to compare with."""


METRICS = (
    Metric("psnr", "PSNR, dB", "higher", "10 log10(255^2 / MSE) over 8-bit RGB"),
    Metric("ssim", "SSIM", "higher", "Gaussian window of 11 px, sigma 1.5, mean of channels"),
    Metric("l1", "L1", "lower", "mean absolute difference, colours from 0 to 1"),
    Metric("lpips", "perceptual", "lower", "distance in the features of a fixed network"),
    Metric("akd", "AKD, px", "lower", "key-points: mean over points and both coordinates"),
    Metric("akd_sum", "AKD (sum), px", "lower", "key-points: mean over points of |dx| + |dy|"),
    Metric("csim", "CSIM", "higher", "cosine of identity embeddings with the source", True),
    Metric("aed", "AED", "lower", "mean absolute difference of expression coefficients"),
    Metric("apd6", "APD-6", "lower", "pose: 3 angles (rad) and 3 translations (dm)"),
    Metric("apd3", "APD-3, rad", "lower", "pose: the 3 angles alone"),
    Metric("jitter", "jitter, px", "lower", "second difference of key-points over time", True),
    Metric("flicker", "flicker", "lower", "change where the film stands still", True),
)
"""In the order of tables."""


@dataclass(frozen=True)
class Summary:
    """Mean over the frames that could be measured, with how many could and could not.

    The mean is NaN where nothing could be measured.
    """

    mean: float
    measured: int
    failed: int


def summarise(values_T: NDArray[np.floating]) -> Summary:
    """Return the mean over the frames of a measure, counting NaN as failures, masked not at all."""
    applicable = np.ma.compressed(values_T)
    good = applicable[~np.isnan(applicable)]
    mean = float(good.mean()) if len(good) else float("nan")
    return Summary(mean, len(good), len(applicable) - len(good))


def _check_alike(a: NDArray[np.generic], b: NDArray[np.generic]) -> None:
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} and {b.shape}")


def psnr(image_HWC: Bytes, target_HWC: Bytes) -> float:
    """Return 10 log10(255^2 / MSE) in dB over 8-bit RGB; infinite for equal images."""
    _check_alike(image_HWC, target_HWC)
    error = np.square(image_HWC.astype(np.float64) - target_HWC.astype(np.float64)).mean()
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))


def l1(image_HWC: Bytes, target_HWC: Bytes) -> float:
    """Return the mean absolute difference on the scale 0 to 1."""
    _check_alike(image_HWC, target_HWC)
    return float(np.abs(image_HWC.astype(np.float64) - target_HWC).mean() / 255)


def ssim(image_HWC: Bytes, target_HWC: Bytes) -> float:
    """Return the structural similarity of 8-bit images, averaged over channels.

    Gaussian window of 11 x 11 with sigma 1.5, K = (0.01, 0.03), range 255, population
    covariance; positions whose window leaves the image do not count.
    """
    _check_alike(image_HWC, target_HWC)
    if min(image_HWC.shape[:2]) < SSIM_TAPS:
        raise ValueError(f"SSIM needs images of {SSIM_TAPS} px or more, got {image_HWC.shape[:2]}")
    x, y = image_HWC.astype(np.float64), target_HWC.astype(np.float64)
    edge = SSIM_TAPS // 2

    def local_mean(values: Floats) -> Floats:
        blurred = cv2.GaussianBlur(values, (SSIM_TAPS, SSIM_TAPS), SSIM_SIGMA)
        return np.asarray(blurred[edge:-edge, edge:-edge], dtype=np.float64)

    mean_x, mean_y = local_mean(x), local_mean(y)
    var_x = local_mean(x * x) - mean_x**2
    var_y = local_mean(y * y) - mean_y**2
    covariance = local_mean(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return float((luminance * structure).mean())


def image_metrics(frames_THWC: Bytes, driving_THWC: Bytes) -> dict[str, Floats]:
    """Return psnr, ssim and l1 of every frame against the driving frame, [T] each."""
    pairs = list(zip(frames_THWC, driving_THWC, strict=True))
    return {
        measure.__name__: np.array([measure(frame, wanted) for frame, wanted in pairs])
        for measure in (psnr, ssim, l1)
    }


@torch.inference_mode()
def perceptual_distance(frames_THWC: Bytes, driving_THWC: Bytes, distance: Perceptual) -> Floats:
    """Return the perceptual distance of every frame to the driving frame, [T]."""
    pairs = zip(to_signed(frames_THWC), to_signed(driving_THWC), strict=True)
    return np.array([float(distance(frame[None], wanted[None])) for frame, wanted in pairs])


def _mean_difference(a_TD: NDArray[np.floating], b_TD: NDArray[np.floating]) -> Floats:
    _check_alike(a_TD, b_TD)
    return np.asarray(np.abs(a_TD - b_TD).mean(axis=-1), dtype=np.float64)


def aed(expression_TD: NDArray[np.floating], driving_TD: NDArray[np.floating]) -> Floats:
    """Return the average expression distance per frame: mean |difference| over coefficients."""
    return _mean_difference(expression_TD, driving_TD)


def apd3(angles_T3: NDArray[np.floating], driving_T3: NDArray[np.floating]) -> Floats:
    """Return the average pose distance over the 3 angles, in radians, per frame."""
    return _mean_difference(angles_T3, driving_T3)


def apd6(
    angles_T3: NDArray[np.floating],
    translation_T3: NDArray[np.floating],
    driving_angles_T3: NDArray[np.floating],
    driving_translation_T3: NDArray[np.floating],
) -> Floats:
    """Return the paper's pose distance over 3 angles and 3 translations, per frame."""
    return _mean_difference(
        np.concatenate([angles_T3, translation_T3], axis=1),
        np.concatenate([driving_angles_T3, driving_translation_T3], axis=1),
    )


def akd(points_TK2: NDArray[np.floating], driving_TK2: NDArray[np.floating]) -> Floats:
    """Return the average key-point distance per frame: mean over points and both coordinates.

    In the pixels of the points: give them in px of `POINTS_PX`. The other reading of the paper's
    "L1", |dx| + |dy| per point, is twice this value: `akd_sum`.
    """
    _check_alike(points_TK2, driving_TK2)
    return np.asarray(np.abs(points_TK2 - driving_TK2).mean(axis=(1, 2)), dtype=np.float64)


def akd_sum(points_TK2: NDArray[np.floating], driving_TK2: NDArray[np.floating]) -> Floats:
    """Return the key-point distance as mean over points of |dx| + |dy|, per frame."""
    return 2 * akd(points_TK2, driving_TK2)


def csim(embedding_TD: NDArray[np.floating], source_D: NDArray[np.floating]) -> Floats:
    """Return the cosine of every frame's identity embedding with the source's."""
    dots = embedding_TD @ source_D
    lengths = np.linalg.norm(embedding_TD, axis=1) * np.linalg.norm(source_D)
    return np.asarray(dots / lengths, dtype=np.float64)


def temporal_jitter(points_TK2: NDArray[np.floating]) -> Floats:
    """Return the mean absolute second difference of points over time, px, for frames 1..T-2."""
    second = points_TK2[2:] - 2 * points_TK2[1:-1] + points_TK2[:-2]
    return np.asarray(np.abs(second).mean(axis=(1, 2)), dtype=np.float64)


def flicker(frames_THWC: Bytes, still_HW: NDArray[np.bool_]) -> Floats:
    """Return the mean absolute change from frame to frame where the film stands still, in 0..1."""
    inside = frames_THWC[:, still_HW].astype(np.float64)
    return np.asarray(np.abs(np.diff(inside, axis=0)).mean(axis=(1, 2)) / 255, dtype=np.float64)
