import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from model.evaluation import metrics
from model.evaluation.baseline import copy_source_psnr


def _images(seed: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    b = np.clip(a.astype(int) + rng.integers(-60, 61, a.shape), 0, 255).astype(np.uint8)
    return a, b


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(11, 40), st.integers(11, 40))
def test_psnr_and_ssim_agree_with_scikit_image(seed, height, width):
    a, b = _images(seed, height, width)
    assert metrics.psnr(a, b) == pytest.approx(peak_signal_noise_ratio(b, a, data_range=255))
    theirs = structural_similarity(
        a, b, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        data_range=255,
    )  # fmt: skip
    assert metrics.ssim(a, b) == pytest.approx(theirs, abs=1e-7)


def test_identical_images_score_best():
    a, _ = _images(0, 20, 30)
    assert metrics.psnr(a, a) == math.inf
    assert metrics.ssim(a, a) == pytest.approx(1.0)
    assert metrics.l1(a, a) == 0


def test_values_by_hand():
    black = np.zeros((12, 12, 3), np.uint8)
    grey = np.full_like(black, 51)
    assert metrics.l1(black, grey) == pytest.approx(0.2)
    assert metrics.psnr(black, grey) == pytest.approx(20 * math.log10(5))
    # Flat images leave only the luminance term: c1 / (51^2 + c1).
    assert metrics.ssim(black, grey) == pytest.approx(6.5025 / (51**2 + 6.5025))


def test_images_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match="shapes differ"):
        metrics.psnr(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(ValueError, match="11 px or more"):
        metrics.ssim(np.zeros((10, 40, 3), np.uint8), np.zeros((10, 40, 3), np.uint8))


def test_distances_of_coefficients_and_points():
    expression = np.zeros((2, 64))
    other = expression.copy()
    other[1, :32] = 0.5
    assert metrics.aed(other, expression).tolist() == [0, 0.25]
    angles, translation = np.zeros((1, 3)), np.zeros((1, 3))
    assert metrics.apd3(angles + 0.3, angles).tolist() == pytest.approx([0.3])
    assert metrics.apd6(angles + 0.3, translation, angles, translation) == pytest.approx([0.15])
    points = np.zeros((1, 68, 2))
    moved = points + np.array([3.0, 1.0])
    assert metrics.akd(moved, points) == pytest.approx([2.0])
    assert metrics.akd_sum(moved, points) == pytest.approx([4.0])


def test_csim_is_a_cosine():
    source = np.array([2.0, 0, 0])
    frames = np.array([[5.0, 0, 0], [0, 1.0, 0], [-1.0, 0, 0]])
    assert metrics.csim(frames, source) == pytest.approx([1, 0, -1])


def test_jitter_sees_shaking_and_not_steady_motion():
    steady = np.arange(6, dtype=float)[:, None, None] * np.ones((1, 4, 2))
    assert metrics.temporal_jitter(steady) == pytest.approx(np.zeros(4))
    shaking = steady + np.array([0, 1] * 3)[:, None, None]
    assert metrics.temporal_jitter(shaking) == pytest.approx(np.full(4, 2.0))


def test_flicker_looks_only_where_the_film_stands_still():
    frames = np.zeros((3, 4, 4, 3), np.uint8)
    frames[1, 0] = 255
    still = np.ones((4, 4), bool)
    assert metrics.flicker(frames, still) == pytest.approx([0.25, 0.25])
    still[0] = False
    assert metrics.flicker(frames, still) == pytest.approx([0, 0])


def test_failed_frames_are_counted():
    expression = np.full((4, 64), 0.5)
    expression[2] = np.nan
    summary = metrics.summarise(metrics.aed(expression, np.zeros((4, 64))))
    assert summary == metrics.Summary(mean=0.5, measured=3, failed=1)
    nothing = metrics.summarise(np.full(3, np.nan))
    assert math.isnan(nothing.mean)
    assert (nothing.measured, nothing.failed) == (0, 3)


def test_what_does_not_apply_is_not_counted():
    values = np.ma.MaskedArray([1.0, np.nan, 3.0, 9.0], mask=[False, False, False, True])
    assert metrics.summarise(values) == metrics.Summary(mean=2.0, measured=2, failed=1)


def test_copying_the_source_scores_as_the_frames_differ():
    source = np.zeros((8, 8, 3), np.uint8)
    frames = np.stack([source + 51, source + 51])
    summary = copy_source_psnr(source, frames)
    assert summary.mean == pytest.approx(20 * math.log10(5))
    assert summary.measured == 2
