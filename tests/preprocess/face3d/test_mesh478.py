import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from preprocess.crop import Alignment
from preprocess.face3d.mesh478 import SHIPPED, fit_clip, read_mesh478


def _spread(directions_NV3):
    return np.linalg.norm(directions_NV3.reshape(len(directions_NV3), -1), axis=1)


# the shipped model


def test_the_shipped_model_is_small_and_says_what_it_is(model):
    assert SHIPPED.stat().st_size <= 0.5e6
    assert model.face.digest == hashlib.sha256(SHIPPED.read_bytes()).hexdigest()
    widths = model.face.widths
    assert widths == ("mesh478", 40, 64, 0, 0)
    assert model.face.mean_V3.shape == (478, 3)
    assert model.face.card["persons"] >= 25


def test_the_shipped_model_holds_on_persons_it_has_not_seen(model):
    """Measured with leave-persons-out when it was built."""
    left_out = model.face.card["left_out"]
    assert left_out["residual_iod"] <= 0.01
    assert left_out["residual_iod"] <= left_out["residual_iod_worst"] <= 0.01
    assert left_out["angles_share"] <= 0.10
    assert left_out["mouth_r"] >= 0.95


def test_directions_are_ordered_by_variance_and_independent(model):
    for basis in (model.face.identity_IV3, model.face.expression_EV3):
        spread = _spread(basis)
        assert (np.diff(spread) <= 1e-4).all()
        unit = basis.reshape(len(basis), -1) / spread[:, None]
        np.testing.assert_allclose(unit @ unit.T, np.eye(len(basis)), atol=5e-3)


def test_identity_is_orthogonal_to_the_expressions_that_the_data_allow(model):
    """To few, the first among them: 98 % of what tells faces apart could be an expression."""
    identity, expression = (
        np.linalg.qr(basis.reshape(len(basis), -1).T)[0]
        for basis in (model.face.identity_IV3, model.face.expression_EV3)
    )
    cosines = np.linalg.norm(identity.T @ expression, axis=0)
    assert cosines[0] < 1e-3
    apart = int((cosines < 1e-3).sum())
    assert apart == model.face.card["orthogonal_expressions"] >= 5
    assert np.linalg.svd(identity.T @ expression, compute_uv=False)[0] > 0.99
    flat = model.face.identity_IV3.reshape(len(model.face.identity_IV3), -1)
    assert 0.95 < ((flat @ expression) ** 2).sum() / (flat**2).sum() < 0.99


def test_poses_part_is_small_and_none_in_a_frontal_face(model):
    """At 20 degrees of yaw the mesh has moved by less than 2 mm; at 0 not at all."""
    nothing = np.zeros(40), np.zeros((2, 64))
    shapes = model.shape(*nothing, np.deg2rad([[0, 0, 0], [0, 20, 0]]))
    np.testing.assert_array_equal(shapes[0], model.face.mean_V3)
    moved_dm = np.linalg.norm(shapes[1] - shapes[0], axis=-1)
    assert 0.001 < moved_dm.mean() < 0.02


def test_the_first_expression_direction_opens_the_mouth(model):
    opening = model.face.expression_EV3[:, 13, 1] - model.face.expression_EV3[:, 14, 1]
    assert np.abs(opening).argmax() in (0, 1)


def test_the_mean_face_is_symmetric(model):
    mean_V3 = model.face.mean_V3
    apart = np.linalg.norm((mean_V3 * [-1, 1, 1])[:, None] - mean_V3, axis=-1).min(axis=1)
    assert apart.max() < 1e-5


# the fit


@pytest.mark.parametrize("frames", [1, 5, 60])
def test_a_made_clip_is_recovered(model, make_clip, frames):
    clip = make_clip(model, seed=frames, frames=frames)
    fit = fit_clip(model, clip.meshes_TV3, clip.alignment)
    assert fit.identity_I.shape == (40,)
    assert fit.expression_TE.shape == (frames, 64)
    np.testing.assert_allclose(fit.angles_T3, clip.truth.angles_T3, atol=np.deg2rad(1.5))
    assert fit.reprojection_iod_T.max() < 2e-3
    np.testing.assert_allclose(fit.reprojection_iod_T, fit.reprojection_px_T / 43, rtol=0.25)
    truth, found = (
        model.face.shape(made.identity_I, made.expression_TE) for made in (clip.truth, fit)
    )
    assert np.linalg.norm(found - truth, axis=-1).mean() < 0.02


def test_expression_changes_come_back(model, make_clip):
    """Offsets from the clip's mean, which identity cannot take."""
    clip = make_clip(model, seed=5, frames=80)
    fit = fit_clip(model, clip.meshes_TV3, clip.alignment)
    for direction in range(8):
        found, truth = fit.expression_TE[:, direction], clip.truth.expression_TE[:, direction]
        assert np.corrcoef(found, truth)[0, 1] > 0.95


def test_the_fit_does_not_depend_on_the_alignment(model, make_clip):
    """Crop and camera may use a smoothed alignment: the same face, another translation."""
    clip = make_clip(model, seed=6, frames=10)
    shift = np.array([6.0, -4.0])
    other = Alignment(clip.alignment.origin_T2 + shift, clip.alignment.scale_T * 1.02)
    fits = [fit_clip(model, clip.meshes_TV3, each) for each in (clip.alignment, other)]
    np.testing.assert_allclose(fits[0].angles_T3, fits[1].angles_T3, atol=0.02)
    np.testing.assert_allclose(fits[0].reprojection_px_T, fits[1].reprojection_px_T, atol=0.05)
    assert np.abs(fits[0].expression_TE - fits[1].expression_TE).mean() < 0.12
    assert np.abs(fits[0].translation_T3 - fits[1].translation_T3).max() > 0.05


def test_the_same_meshes_give_the_same_numbers(model, make_clip):
    clip = make_clip(model, seed=7, frames=6)
    first, second = (fit_clip(model, clip.meshes_TV3, clip.alignment) for _ in range(2))
    np.testing.assert_array_equal(first.expression_TE, second.expression_TE)
    np.testing.assert_array_equal(first.translation_T3, second.translation_T3)


def test_another_face_model_is_refused(tmp_path):
    path = tmp_path / "face.safetensors"
    tensors = {
        "mean": np.zeros((4, 3), np.float32),
        "identity": np.zeros((1, 4, 3), np.float16),
        "expression": np.zeros((1, 4, 3), np.float16),
        "landmarks68": np.zeros(68, np.int32),
    }
    save_file(tensors, path, {"card": json.dumps({"name": "bfm"})})
    with pytest.raises(ValueError, match="not a mesh478"):
        read_mesh478(path)
