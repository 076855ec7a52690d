import numpy as np
import pytest

from model.geometry.camera import angles_of, rotation
from preprocess.crop import Alignment
from preprocess.face3d.lift import register, solve_translation, weak_perspective


@pytest.fixture
def shape():
    return np.random.default_rng(0).uniform([-0.7, -0.9, -0.4], [0.7, 0.5, 0.6], (60, 3))


def _seen(shape, angles, translation):
    """What a pinhole shows of a shape, with the depth on the picture's scale."""
    turned = shape @ np.swapaxes(rotation(angles), -1, -2) + translation[:, None]
    middle = turned[..., 2].mean(axis=1)[:, None]
    flat = 10 * turned[..., :2] / (10 - turned[..., 2:])
    relief = 10 * (turned[..., 2] - middle) / (10 - middle)
    return np.concatenate([flat, relief[..., None]], axis=-1), turned


def test_film_px_become_decimetres():
    alignment = Alignment(np.array([[100.0, 50.0]]), np.array([51.0]))
    mesh = np.array([[[100.0, 50, 0], [151, 50, 0], [100, 101, 0], [100, 50, 51]]])
    lifted = weak_perspective(mesh, alignment)
    one = 102 / 101.5  # the extractor calls 102 px what a pinhole shows of a decimetre in 101.5
    np.testing.assert_allclose(lifted[0, 1:], one * np.diag([1, -1, -1]), atol=1e-12)
    np.testing.assert_allclose(lifted[0, 0], 0, atol=1e-12)


def test_translation_is_solved_exactly(shape):
    rng = np.random.default_rng(1)
    angles, translation = rng.uniform(-0.5, 0.5, (6, 3)), rng.normal(0, 0.3, (6, 3))
    seen, turned = _seen(shape, angles, translation)
    solved = solve_translation(turned - translation[:, None], seen)
    np.testing.assert_allclose(solved, translation, atol=1e-9)


def test_registration_finds_pose_and_undoes_perspective(shape):
    rng = np.random.default_rng(2)
    angles, translation = rng.uniform(-0.6, 0.6, (8, 3)), rng.normal(0, [0.05, 0.05, 1.0], (8, 3))
    seen, _ = _seen(shape, angles, translation)
    laid = register(seen, shape, np.ones(len(shape)))
    np.testing.assert_allclose(angles_of(laid.rotation_T33), angles, atol=2e-3)
    np.testing.assert_allclose(laid.shape_TV3, np.broadcast_to(shape, seen.shape), atol=5e-3)
    flat = register(seen, shape, np.ones(len(shape))).shape_TV3 - shape
    assert np.abs(flat).mean() < 0.25 * np.abs(_weak_only(seen, angles) - shape).mean()


def _weak_only(seen, angles):
    """The same meshes turned back without undoing perspective."""
    turned = seen @ rotation(angles)
    return turned - turned.mean(axis=1, keepdims=True) + turned.mean(axis=(0, 1))


def test_still_vertices_decide(shape):
    """A vertex of no weight may go anywhere."""
    angles = np.array([[0.1, 0.3, -0.2]])
    seen, _ = _seen(shape, angles, np.zeros((1, 3)))
    weight = np.ones(len(shape))
    before = register(seen, shape, weight * (np.arange(60) != 7)).rotation_T33
    moved = seen.copy()
    moved[:, 7, :2] += 0.5
    after = register(moved, shape, weight * (np.arange(60) != 7)).rotation_T33
    np.testing.assert_allclose(after, before, atol=1e-9)
