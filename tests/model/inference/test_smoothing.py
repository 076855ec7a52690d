"""Smoothing of expressions: a narrow Gaussian that keeps cuts, gaps, drifts and shut mouths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.inference.smoothing import SmoothingConfig, smooth_expression

CONFIG = SmoothingConfig()


def _all(count: int) -> np.ndarray:
    return np.ones(count, bool)


def _noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)


def test_one_frame_spreads_as_a_gaussian() -> None:
    exp = np.zeros((21, 2), np.float32)
    exp[10] = [1, -2]
    out = smooth_expression(exp, _all(21), SmoothingConfig(sigma_frames=1.0))
    away = np.arange(21) - 10
    bell = np.exp(-(away**2) / 2)
    np.testing.assert_allclose(out[:, 0], bell / bell.sum(), atol=2e-4)
    np.testing.assert_allclose(out[:, 1], -2 * out[:, 0], atol=1e-6)
    assert out.dtype == np.float32


def test_sigma_0_returns_what_came() -> None:
    exp = _noise(9)
    none = SmoothingConfig(sigma_frames=0)
    np.testing.assert_array_equal(smooth_expression(exp, _all(9), none), exp)


@given(
    count=st.integers(1, 30),
    start=st.floats(-3, 3),
    slope=st.floats(-1, 1),
    sigma=st.floats(0.05, 1),
)
def test_a_steady_course_stays(count: int, start: float, slope: float, sigma: float) -> None:
    exp = (start + slope * np.arange(count))[:, None].astype(np.float32)
    out = smooth_expression(exp, _all(count), SmoothingConfig(sigma))
    np.testing.assert_allclose(out, exp, atol=1e-5)


def test_jitter_shrinks() -> None:
    exp = _noise(200)
    out = smooth_expression(exp, _all(200), CONFIG)
    assert np.diff(out, axis=0).std() < 0.6 * np.diff(exp, axis=0).std()


@given(
    known=st.lists(st.booleans(), min_size=1, max_size=40),
    cuts=st.sets(st.integers(0, 39)),
    seed=st.integers(0, 1000),
)
def test_nothing_crosses_cuts_and_gaps(known: list[bool], cuts: set[int], seed: int) -> None:
    count = len(known)
    known_F = np.array(known)
    segment_F = np.cumsum([frame in cuts for frame in range(count)])
    exp, mouth_F = _noise(count, seed), np.abs(_noise(count, seed + 1))[:, 0]
    out = smooth_expression(exp, known_F, CONFIG, segment_F=segment_F, mouth_F=mouth_F)
    np.testing.assert_array_equal(out[~known_F], exp[~known_F])
    # Each stretch comes out as it does alone, whatever lies beside it.
    stretch_F = np.cumsum(np.diff(known_F, prepend=known_F[0]) | np.isin(np.arange(count), [*cuts]))
    for number in np.unique(stretch_F[known_F]):
        at = stretch_F == number
        alone = smooth_expression(exp[at], known_F[at], CONFIG, mouth_F=mouth_F[at])
        np.testing.assert_array_equal(out[at], alone)


def test_names_of_shots_are_labels_too() -> None:
    exp = np.repeat(np.float32([[0], [1]]), 5, axis=0)
    names = np.array(["a"] * 5 + ["b"] * 5)
    assert (smooth_expression(exp, _all(10), CONFIG) != exp).any()
    kept = smooth_expression(exp, _all(10), CONFIG, segment_F=names)
    np.testing.assert_array_equal(kept, exp)


def test_a_shut_mouth_stays_shut() -> None:
    mouth_F = np.full(15, 0.2)
    mouth_F[6:8] = 0.0
    exp = mouth_F[:, None].astype(np.float32)
    free = smooth_expression(exp, _all(15), CONFIG)[:, 0]
    kept = smooth_expression(exp, _all(15), CONFIG, mouth_F=mouth_F)[:, 0]
    assert free[6] > 0.04
    assert kept[6:8].max() <= CONFIG.max_mouth_change + 1e-6


@given(seed=st.integers(0, 1000), most=st.floats(0, 0.1), sigma=st.floats(0.1, 1))
def test_lips_move_by_no_more_than_allowed(seed: int, most: float, sigma: float) -> None:
    mouth_F = np.abs(_noise(60, seed)[:, 0].astype(np.float64))
    # The first coefficient opens the mouth, the others say something else.
    exp = np.c_[mouth_F, _noise(60, seed + 1)[:, 1:]].astype(np.float32)
    config = SmoothingConfig(sigma, most)
    out = smooth_expression(exp, _all(60), config, mouth_F=mouth_F)
    free = smooth_expression(exp, _all(60), config)
    assert np.abs(out - exp)[:, 0].max() <= most + 1e-6
    assert (np.abs(out - exp) <= np.abs(free - exp) + 1e-6).all()


def test_a_mouth_at_rest_holds_nothing_back() -> None:
    exp = _noise(40)
    free = smooth_expression(exp, _all(40), CONFIG)
    for mouth_F in (np.full(40, 0.1), np.full(40, np.nan)):
        rested = smooth_expression(exp, _all(40), CONFIG, mouth_F=mouth_F)
        np.testing.assert_array_equal(rested, free)


def test_what_came_is_not_written_into() -> None:
    exp = _noise(20)
    before = exp.copy()
    smooth_expression(exp, _all(20), CONFIG, mouth_F=np.abs(exp[:, 0]))
    np.testing.assert_array_equal(exp, before)


def test_no_frames_and_one_frame() -> None:
    assert smooth_expression(_noise(0), _all(0), CONFIG).shape == (0, 3)
    np.testing.assert_array_equal(smooth_expression(_noise(1), _all(1), CONFIG), _noise(1))


def test_wrong_settings_and_lengths_are_refused() -> None:
    for sigma in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="sigma_frames"):
            SmoothingConfig(sigma)
    with pytest.raises(ValueError, match="max_mouth_change"):
        SmoothingConfig(max_mouth_change=-1)
    with pytest.raises(ValueError, match="known_F speaks of 3 frames"):
        smooth_expression(_noise(4), _all(3), CONFIG)
    with pytest.raises(ValueError, match="mouth_F speaks of 5 frames"):
        smooth_expression(_noise(4), _all(4), CONFIG, mouth_F=np.zeros(5))
