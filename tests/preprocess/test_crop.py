from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from preprocess.crop import (
    CANONICAL_K3,
    Align,
    Alignment,
    Centre,
    CropConfig,
    align_points,
    crop_affines,
    crop_boxes,
    crop_centres,
    follow,
    inverse,
    smooth,
    transform,
    unwarp_crop,
    warp_crop,
)


def _smooth_picture(height, width, seed=0):
    """Picture without fine detail, so that resampling loses little."""
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)
    even = cv2.GaussianBlur(noise, (0, 0), 6)
    return cv2.normalize(even, None, 10, 245, cv2.NORM_MINMAX).astype(np.uint8)


def _shift_zoom(zoom, shift):
    return np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]], [0, 0, 1.0]])


# alignment


@given(scale=st.floats(5, 900), x=st.floats(-500, 4000), y=st.floats(-500, 4000))
def test_alignment_recovers_scale_and_origin(scale, x, y):
    points = CANONICAL_K3[:, :2] * [scale, -scale] + [x, y]
    alignment = align_points(points[None])
    np.testing.assert_allclose(alignment.scale_T, [scale], rtol=1e-9)
    np.testing.assert_allclose(alignment.origin_T2, [[x, y]], atol=1e-6)


@given(seed=st.integers(0, 2**32 - 1))
def test_alignment_is_the_ten_by_eight_least_squares_with_y_up(seed):
    height = 480
    points = np.random.default_rng(seed).uniform(0, height, (5, 2))
    design = np.zeros((10, 8))
    design[0::2, :3] = design[1::2, 4:7] = CANONICAL_K3
    design[0::2, 3] = design[1::2, 7] = 1
    upward = np.c_[points[:, 0], height - points[:, 1]]
    solved = np.linalg.lstsq(design, upward.ravel(), rcond=None)[0]
    scale = (np.linalg.norm(solved[:3]) + np.linalg.norm(solved[4:7])) / 2
    alignment = align_points(points[None])
    np.testing.assert_allclose(alignment.scale_T, [scale], rtol=1e-8)
    np.testing.assert_allclose(
        alignment.origin_T2, [[solved[3], height - solved[7]]], rtol=1e-8, atol=1e-6
    )


def test_box_is_seven_thirds_of_a_decimetre_about_the_origin():
    alignment = Alignment(np.array([[320.0, 180.0]]), np.array([60.0]))
    boxes = crop_boxes(alignment.origin_T2, alignment.scale_T, Align.PER_FRAME)
    np.testing.assert_allclose(boxes.side_T, [140])
    affine = crop_affines(boxes, 256)
    corners = transform(affine, np.array([[[320, 180], [250, 110], [390, 250]]]))
    np.testing.assert_allclose(corners[0], [[128, 128], [0, 0], [256, 256]], atol=1e-9)


# over time


def test_smoothing_leaves_a_drift_and_damps_jitter():
    ticks = np.arange(40)
    drift = np.stack([3.0 * ticks, 100 - 0.5 * ticks], axis=1)
    np.testing.assert_allclose(smooth(drift, ticks, 2.0), drift, atol=1e-9)
    jitter = np.where(ticks % 2 == 0, 1.0, -1.0)[:, None]
    assert np.abs(smooth(drift + jitter, ticks, 2.0) - drift)[9:-9].max() < 1e-3


def test_smoothing_has_no_phase():
    step = np.r_[np.zeros(20), np.ones(20)][:, None]
    even = smooth(step, np.arange(40), 3.0)[:, 0]
    np.testing.assert_allclose(even + even[::-1], 1, atol=1e-12)


def test_smoothing_counts_time_across_gaps():
    ticks = np.array([10, 11, 12, 20, 21, 22])
    drift = 2.0 * ticks[:, None]
    np.testing.assert_allclose(smooth(drift, ticks, 2.0), drift, atol=1e-9)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_smoothing_takes_short_spans(length):
    values = np.arange(length, dtype=float)[:, None]
    np.testing.assert_allclose(smooth(values, np.arange(length), 2.0), values, atol=1e-9)


def test_only_the_smoothed_crop_smooths():
    rng = np.random.default_rng(1)
    alignment = Alignment(rng.normal(300, 2, (30, 2)), rng.normal(60, 1, 30))
    ticks = np.arange(30)
    assert follow(alignment, ticks, CropConfig()) is alignment
    even = follow(alignment, ticks, CropConfig(align=Align.SMOOTHED))
    assert even.scale_T.std() < 0.6 * alignment.scale_T.std()
    assert (even.origin_T2.std(axis=0) < 0.6 * alignment.origin_T2.std(axis=0)).all()


def test_fixed_box_holds_every_frames_box():
    rng = np.random.default_rng(2)
    alignment = Alignment(rng.uniform(200, 300, (20, 2)), rng.uniform(50, 70, 20))
    own = crop_boxes(alignment.origin_T2, alignment.scale_T, Align.PER_FRAME)
    fixed = crop_boxes(alignment.origin_T2, alignment.scale_T, Align.FIXED_BOX)
    assert np.ptp(fixed.side_T) == 0
    assert (np.ptp(fixed.centre_T2, axis=0) == 0).all()
    reach = np.abs(own.centre_T2 - fixed.centre_T2) + own.side_T[:, None] / 2
    assert (reach <= fixed.side_T[:, None] / 2 + 1e-9).all()
    assert reach.max() == pytest.approx(fixed.side_T[0] / 2)


@pytest.mark.parametrize("wrong", [{"size_px": 4}, {"sigma_frames": 0}, {"sigma_frames": -1.0}])
def test_config_says_which_field_is_wrong(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CropConfig(**wrong)


# pixels


@settings(deadline=None, max_examples=30)
@given(
    zoom=st.floats(0.08, 3.0),
    turn=st.floats(-0.6, 0.6),
    x=st.floats(110, 146),
    y=st.floats(110, 146),
)
def test_a_spot_lands_where_the_affine_says(zoom, turn, x, y):
    height, width = 500, 700
    spot = np.array([352.3, 249.6])
    spread = 12 / min(zoom, 1)
    rows, columns = np.mgrid[0:height, 0:width] + 0.5
    bright = np.exp(-((columns - spot[0]) ** 2 + (rows - spot[1]) ** 2) / (2 * spread**2))
    picture = np.repeat((255 * bright).round().astype(np.uint8)[..., None], 3, axis=2)
    affine = np.eye(3)
    affine[:2, :2] = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    affine[:2, 2] = [x, y] - affine[:2, :2] @ spot
    crop = warp_crop(picture, affine, 256)[..., 0].astype(float)
    near = crop * (crop > 40)
    rows, columns = np.mgrid[0:256, 0:256] + 0.5
    centroid = np.array([(near * columns).sum(), (near * rows).sum()]) / near.sum()
    np.testing.assert_allclose(centroid, [x, y], atol=0.08)


def test_unit_affine_changes_nothing():
    picture = _smooth_picture(64, 64)
    np.testing.assert_array_equal(warp_crop(picture, np.eye(3), 64), picture)


@pytest.mark.parametrize("shrink", [1.5, 2.0, 3.7, 9.3])
def test_shrinking_averages_and_does_not_alias(shrink):
    """The finest checkerboard becomes grey; plain sampling would give stripes."""
    board = np.indices((1200, 1200)).sum(axis=0) % 2 * 255
    picture = np.repeat(board.astype(np.uint8)[..., None], 3, axis=2)
    crop = warp_crop(picture, _shift_zoom(1 / shrink, (-8.3, -7.1)), 96)
    assert np.abs(crop.astype(float) - 127.5).max() < 40
    assert crop.mean() == pytest.approx(127.5, abs=1.5)


def test_outside_of_the_frame_is_black():
    white = np.full((100, 100, 3), 255, np.uint8)
    crop = warp_crop(white, _shift_zoom(1.0, (50, 0)), 100)
    assert crop[:, :49].max() == 0
    assert crop[2:-2, 52:].min() == 255
    assert warp_crop(white, _shift_zoom(1.0, (500, 0)), 100).max() == 0
    assert warp_crop(white, _shift_zoom(0.01, (-500, 0)), 100).max() == 0


@settings(deadline=None, max_examples=25)
@given(side=st.floats(150, 420), x=st.floats(220, 300), y=st.floats(220, 300))
def test_crop_and_back_gives_the_frame_and_crop_again(side, x, y):
    film = _smooth_picture(520, 520)
    alignment = Alignment(np.array([[x, y]]), np.array([side / (700 / 300)]))
    affine = crop_affines(crop_boxes(alignment.origin_T2, alignment.scale_T, Align.PER_FRAME), 256)[
        0
    ]
    crop = warp_crop(film, affine, 256)
    back = unwarp_crop(crop, affine, 520, 520)
    low, high = int(x - side / 2) + 8, int(x + side / 2) - 8
    top, bottom = int(y - side / 2) + 8, int(y + side / 2) - 8
    off = back[top:bottom, low:high].astype(int) - film[top:bottom, low:high]
    assert np.abs(off).mean() < 2.5
    again = warp_crop(back, affine, 256)
    assert np.abs(again[8:-8, 8:-8].astype(int) - crop[8:-8, 8:-8]).mean() < 2.5
    assert back[: max(0, int(y - side / 2) - 4)].max(initial=0) == 0
    assert back[:, int(x + side / 2) + 5 :].max(initial=0) == 0


def test_unwarping_beside_the_frame_gives_black():
    crop = np.full((64, 64, 3), 200, np.uint8)
    assert unwarp_crop(crop, _shift_zoom(1.0, (500, 500)), 80, 60).max() == 0


@given(seed=st.integers(0, 2**32 - 1))
def test_points_go_to_the_crop_and_back(seed):
    rng = np.random.default_rng(seed)
    alignment = Alignment(rng.uniform(0, 2000, (3, 2)), rng.uniform(20, 400, 3))
    affines = crop_affines(crop_boxes(alignment.origin_T2, alignment.scale_T, Align.PER_FRAME), 256)
    points = rng.uniform(0, 2000, (3, 7, 2))
    there = transform(affines, points)
    np.testing.assert_allclose(transform(inverse(affines), there), points, atol=1e-6)


@pytest.mark.parametrize("align", [Align.PER_FRAME, Align.SMOOTHED])
def test_the_nose_is_at_the_middle_in_every_pose(align):
    """A head that turns, nods, walks and comes nearer; landmarks are off by a third of a pixel."""
    time = np.arange(60)
    yaw, pitch = 0.5 * np.sin(time / 9), 0.2 * np.sin(time / 6)
    turn_T33 = Rotation.from_euler("yx", np.c_[yaw, -pitch]).as_matrix()
    scale_T = 60 + 0.3 * time
    seen_TK2 = (CANONICAL_K3 @ np.swapaxes(turn_T33, 1, 2))[..., :2] * [1, -1]
    points_TK2 = scale_T[:, None, None] * seen_TK2 + 300 + 2 * time[:, None, None]
    points_TK2 += np.random.default_rng(0).normal(0, 0.3, points_TK2.shape)
    config = CropConfig(align=align)
    alignment = follow(align_points(points_TK2), time, config)
    centres = crop_centres(alignment, points_TK2, time, config)
    boxes = crop_boxes(centres, alignment.scale_T, align)
    nose = transform(crop_affines(boxes, 256), points_TK2)[:, 2]
    assert np.abs(nose - 128).max() < (1e-6 if align is Align.PER_FRAME else 3)
    at_origin = crop_centres(alignment, points_TK2, time, replace(config, centre=Centre.ORIGIN))
    np.testing.assert_array_equal(at_origin, alignment.origin_T2)
