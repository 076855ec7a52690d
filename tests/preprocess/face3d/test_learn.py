import dataclasses

import numpy as np
import pytest
from safetensors.numpy import load

from preprocess.crop import CANONICAL_K3
from preprocess.face3d.learn import learn, orthogonal_expressions
from preprocess.face3d.left_out import check_left_out
from preprocess.face3d.mesh478 import pack_mesh478, pose_features, read_mesh478
from preprocess.landmarks.mesh_points import five_points


@pytest.fixture(scope="module")
def persons(model, make_clip):
    """Five persons of two clips each, and two portraits."""
    filmed = [make_clip(model, seed, 40).meshes_TV3 for seed in range(5)]
    return [[meshes[:25], meshes[25:]] for meshes in filmed] + [
        [make_clip(model, seed, 1).meshes_TV3] for seed in (11, 12)
    ]


@pytest.fixture(scope="module")
def learned(persons):
    return learn(persons)


def test_learns_a_model_in_the_canonical_frame(learned):
    face = learned.face
    assert face.mean_V3.shape == (478, 3)
    assert face.identity_IV3.shape == (40, 478, 3)
    assert face.expression_EV3.shape == (64, 478, 3)
    assert learned.pose_FV3.shape == (6, 478, 3)
    np.testing.assert_allclose(five_points(face.mean_V3), CANONICAL_K3, atol=0.03)


def test_finds_the_directions_that_the_persons_were_made_with(model, learned):
    """The strongest made direction lies in what was learned."""
    flat = learned.face.expression_EV3.reshape(64, -1)
    basis = np.linalg.qr(flat.T)[0]
    for made in model.face.expression_EV3[:5].reshape(5, -1):
        kept = np.linalg.norm(basis.T @ made) / np.linalg.norm(made)
        assert kept > 0.97


def mirrored(model, direction):
    mean_V3 = model.face.mean_V3
    mirror_V = np.linalg.norm((mean_V3 * [-1, 1, 1])[:, None] - mean_V3, axis=-1).argmin(axis=1)
    return direction[mirror_V] * [-1, 1, 1]


def test_every_direction_is_symmetric_or_antisymmetric(learned):
    for direction in learned.face.expression_EV3[:20]:
        cosine = (mirrored(learned, direction) * direction).sum() / (direction**2).sum()
        assert abs(abs(cosine) - 1) < 1e-6


def test_poses_part_turns_with_the_head(learned):
    """Of a mirrored head the mesh is mirrored: pitch and all squares symmetric, yaw and roll not"""
    for direction, sign in zip(learned.pose_FV3, [1, -1, -1, 1, 1, 1], strict=True):
        np.testing.assert_allclose(mirrored(learned, direction), sign * direction, atol=1e-9)


def test_what_a_mesh_does_with_the_pose_is_found(model, make_clip):
    """Meshes of faces that also bend with yaw, by a wave that the model does not know."""
    bent = dataclasses.replace(model, pose_FV3=model.pose_FV3.copy())
    bent.pose_FV3[1] += 0.1 * np.sin(12 * model.face.mean_V3[:, :1]) * [0, 0, 1]
    learned = learn([[make_clip(bent, seed, 60, spread=0.3).meshes_TV3] for seed in range(6)])
    angles = np.random.default_rng(3).uniform(-0.3, 0.3, (50, 3))
    found, made, known = (
        np.tensordot(pose_features(angles), each.pose_FV3, axes=1)
        for each in (learned, bent, model)
    )
    assert np.linalg.norm(found - made) < 0.5 * np.linalg.norm(known - made)


def test_who_nods_while_speaking_does_not_teach_that_a_nod_opens_the_mouth(model, make_clip):
    clips = [make_clip(model, seed, 60, spread=0.5, nod_rad=0.2) for seed in range(6)]
    learned = learn([[clip.meshes_TV3] for clip in clips])
    speaking = model.face.expression_EV3[0]
    size = (speaking**2).sum()
    found, made = ((each.pose_FV3[0] * speaking).sum() / size for each in (learned, model))
    assert abs(found - made) < 0.2 / 0.2  # of the five units a radian that always came with it


def test_identity_is_orthogonal_to_expressions_in_which_persons_do_not_differ(learned):
    identity = np.linalg.svd(learned.face.identity_IV3.reshape(40, -1), full_matrices=False)
    span = identity[2][identity[1] > 1e-6 * identity[1].max()]
    flat = learned.face.expression_EV3.reshape(64, -1)
    cosines = np.linalg.norm(flat @ span.T, axis=1) / np.linalg.norm(flat, axis=1)
    assert (cosines < 0.01).sum() == orthogonal_expressions(learned.face) > 0
    assert ((cosines < 1e-9) | (cosines > 0.01)).all()


def test_left_out_persons_are_measured(model, make_clip):
    clips = [make_clip(model, seed, 150, spread=0.5).meshes_TV3 for seed in range(5)]
    persons = [[clip[:75], clip[75:]] for clip in clips]
    left_out = check_left_out(persons, learn(persons), folds=2)
    assert left_out.folds == 2
    assert 0 < left_out.residual_iod <= left_out.residual_iod_worst < 0.02
    assert 0 < left_out.angles_share < 0.1
    # A made-up person's lips may pass through each other; then their distance is not linear.
    assert left_out.mouth_r_worst <= left_out.mouth_r <= 1
    assert left_out.mouth_r > 0.8


def test_an_expression_that_follows_the_head_shows_in_the_number(model, make_clip):
    clips = [make_clip(model, seed, 60, spread=0.5, nod_rad=0.6) for seed in range(5)]
    free = [make_clip(model, seed, 60, spread=0.5) for seed in range(5)]
    nodding, still = (
        check_left_out(each, learn(each), folds=2).angles_share
        for each in ([[clip.meshes_TV3] for clip in group] for group in (clips, free))
    )
    assert nodding > still + 0.005  # of 64 coefficients a good half of one follows


def test_the_same_persons_give_the_same_file_and_it_can_be_read(tmp_path, persons, learned):
    card = {"persons": 7, "left_out": {"residual_iod": 0.002}}
    packed = pack_mesh478(learned, card)
    assert pack_mesh478(learn(persons), card) == packed
    path = tmp_path / "face.safetensors"
    path.write_bytes(packed)
    read = read_mesh478(path)
    assert card.items() <= read.face.card.items()
    assert read.noise_dm == pytest.approx(learned.noise_dm, rel=1e-3)
    np.testing.assert_allclose(read.face.mean_V3, learned.face.mean_V3, atol=1e-6)
    for found, made in (
        (read.face.expression_EV3, learned.face.expression_EV3),
        (read.face.identity_IV3, learned.face.identity_IV3),
        (read.pose_FV3, learned.pose_FV3),
    ):
        np.testing.assert_allclose(found, made, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(read.weight_V, learned.weight_V, rtol=1e-6)


def test_only_statistics_are_written(learned):
    tensors = load(pack_mesh478(learned, {}))
    assert tensors.keys() == {"mean", "identity", "expression", "pose", "weight", "landmarks68"}


@pytest.mark.parametrize("films", [0, 1])
def test_too_few_persons_are_refused(persons, films):
    with pytest.raises(ValueError, match="at least"):
        learn(persons[:films] + persons[5:])
