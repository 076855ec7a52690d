"""Edge widths against edges of known width."""

import cv2
import numpy as np
import pytest
from scipy.special import erf

from preprocess.landmarks.mesh_points import eye_distance
from preprocess.quality import sharpness as measure


def edge_width_px(picture):
    return measure.edge_width_px(picture, 1.5)


def face_sharpness(picture, mesh):
    box = np.r_[mesh[:, :2].min(axis=0), mesh[:, :2].max(axis=0)]
    return measure.face_sharpness(picture, box, float(eye_distance(mesh[:, :2])))


def _edge(width_px, low=60, high=200, at=100.3):
    place = np.arange(200) + 0.5
    profile = (1 + erf((place - at) / (width_px * np.sqrt(2)))) / 2
    row = np.round(low + (high - low) * profile).astype(np.uint8)
    return np.broadcast_to(row[None, :, None], (80, 200, 3)).copy()


@pytest.mark.parametrize("width_px", [0.7, 1.0, 1.5, 2.5, 4.0])
def test_the_width_of_an_edge_is_found(width_px):
    assert edge_width_px(_edge(width_px)) == pytest.approx(width_px, rel=0.06)
    assert edge_width_px(_edge(width_px).swapaxes(0, 1).copy()) == pytest.approx(width_px, rel=0.06)


def test_contrast_and_brightness_do_not_matter():
    strong, weak, dark = _edge(2, 10, 250), _edge(2, 100, 140), _edge(2, 0, 60)
    assert edge_width_px(weak) == pytest.approx(edge_width_px(strong), rel=0.06)
    assert edge_width_px(dark) == pytest.approx(edge_width_px(strong), rel=0.06)


def test_widths_add_in_squares_under_a_further_blur(painting):
    before = edge_width_px(painting)
    after = edge_width_px(cv2.GaussianBlur(painting, (0, 0), 3))
    assert after > before
    assert edge_width_px(cv2.GaussianBlur(_edge(2), (0, 0), 3)) == pytest.approx(13**0.5, rel=0.06)


@pytest.mark.parametrize("shape", [(0, 0), (3, 90), (8, 8), (60, 60)])
def test_a_picture_without_structure_is_as_blurred_as_can_be(shape):
    assert edge_width_px(np.full((*shape, 3), 90, np.uint8)) == 100


def test_noise_counts_as_sharp_but_is_bounded():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert 0.3 <= edge_width_px(noise) < 1


def test_size_of_the_crop_does_not_matter_but_blur_does(painting, mesh):
    soft = cv2.GaussianBlur(painting, (0, 0), 2)
    half = cv2.resize(soft, (128, 128), interpolation=cv2.INTER_AREA)
    sharpness = face_sharpness(soft, mesh)
    assert face_sharpness(half, mesh / 2) == pytest.approx(sharpness, rel=0.15)
    assert face_sharpness(painting, mesh) > 1.2 * sharpness
    assert face_sharpness(cv2.GaussianBlur(soft, (0, 0), 4), mesh) < 0.7 * sharpness


def test_the_background_has_no_say(painting, mesh):
    low, high = mesh[:, :2].min(axis=0).astype(int), mesh[:, :2].max(axis=0).astype(int) + 1
    noise = np.random.default_rng(0).integers(0, 256, painting.shape, np.uint8)
    noise[low[1] : high[1], low[0] : high[0]] = painting[low[1] : high[1], low[0] : high[0]]
    assert face_sharpness(noise, mesh) == face_sharpness(painting, mesh)


def test_a_face_outside_of_the_crop_has_no_sharpness(painting, mesh):
    assert face_sharpness(painting, mesh + np.array([1000, 0, 0])) < 1
