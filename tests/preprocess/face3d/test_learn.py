import dataclasses

import numpy as np
import pytest
from safetensors.numpy import load

from preprocess.crop import CANONICAL_K3
from preprocess.face3d.build import main, pack
from preprocess.face3d.learn import check_left_out, learn
from preprocess.face3d.mesh478 import read_mesh478
from preprocess.landmarks.mesh_points import five_points


@pytest.fixture(scope="module")
def persons(model, make_clip):
    """Five films and two portraits."""
    return [make_clip(model, seed, 40).meshes_TV3 for seed in range(5)] + [
        make_clip(model, seed, 1).meshes_TV3 for seed in (11, 12)
    ]


@pytest.fixture(scope="module")
def learned(persons):
    return learn(persons)


@pytest.fixture(scope="module")
def left_out(persons):
    return check_left_out(persons, folds=2)


def test_learns_a_model_in_the_canonical_frame(learned):
    face = learned.face
    assert face.mean_V3.shape == (478, 3)
    assert face.identity_IV3.shape == (40, 478, 3)
    assert face.expression_EV3.shape == (64, 478, 3)
    np.testing.assert_allclose(five_points(face.mean_V3), CANONICAL_K3, atol=0.03)


def test_finds_the_directions_that_the_persons_were_made_with(model, learned):
    """The strongest made direction lies in what was learned."""
    flat = learned.face.expression_EV3.reshape(64, -1)
    basis = np.linalg.qr(flat.T)[0]
    for made in model.face.expression_EV3[:5].reshape(5, -1):
        kept = np.linalg.norm(basis.T @ made) / np.linalg.norm(made)
        assert kept > 0.97


def test_every_direction_is_symmetric_or_antisymmetric(learned):
    mean_V3 = learned.face.mean_V3
    mirror_V = np.linalg.norm((mean_V3 * [-1, 1, 1])[:, None] - mean_V3, axis=-1).argmin(axis=1)
    for direction in learned.face.expression_EV3[:20]:
        mirrored = direction[mirror_V] * [-1, 1, 1]
        cosine = (mirrored * direction).sum() / (direction**2).sum()
        assert abs(abs(cosine) - 1) < 1e-6


def test_left_out_persons_are_measured(left_out):
    assert left_out.folds == 2
    assert 0 < left_out.residual_iod <= left_out.residual_iod_worst < 0.02
    assert left_out.angles_share <= left_out.angles_share_seen < 0.5
    assert left_out.mouth_r > 0.9


def test_the_same_persons_give_the_same_file_and_it_can_be_read(
    tmp_path, persons, learned, left_out
):
    packed = pack(learned, left_out, persons, {"backend": "made up"})
    assert pack(learn(persons), left_out, persons, {"backend": "made up"}) == packed
    path = tmp_path / "face.safetensors"
    path.write_bytes(packed)
    read = read_mesh478(path)
    assert read.face.card["persons"] == 7
    assert read.face.card["persons_filmed"] == 5
    assert read.face.card["frames"] == 202
    assert read.face.card["left_out"].keys() == dataclasses.asdict(left_out).keys()
    np.testing.assert_allclose(read.face.mean_V3, learned.face.mean_V3, atol=1e-6)
    np.testing.assert_allclose(
        read.face.expression_EV3, learned.face.expression_EV3, rtol=1e-3, atol=1e-6
    )
    np.testing.assert_allclose(read.weight_V, learned.weight_V, rtol=1e-6)


def test_only_statistics_are_written(persons, learned, left_out):
    tensors = load(pack(learned, left_out, persons, {}))
    assert tensors.keys() == {"mean", "identity", "expression", "weight", "landmarks68"}


@pytest.mark.parametrize("films", [0, 1])
def test_too_few_persons_are_refused(persons, films):
    with pytest.raises(ValueError, match="at least"):
        learn(persons[:films] + persons[5:])


@pytest.mark.parametrize("what", ["absent.mp4", "text.mp4"])
def test_the_command_says_what_is_wrong(tmp_path, landmarker_task, capsys, what):
    (tmp_path / "text.mp4").write_text("not a film")
    out = tmp_path / "out.safetensors"
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / what), "--landmarker", str(landmarker_task), "--out", str(out)])
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err.splitlines()[-1]
    assert not out.exists()
