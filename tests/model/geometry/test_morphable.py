import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from model.geometry.morphable import FaceWidths, read_morphable


@pytest.fixture
def tensors():
    rng = np.random.default_rng(0)
    return {
        "mean": rng.normal(size=(5, 3)).astype(np.float32),
        "identity": rng.normal(size=(2, 5, 3)).astype(np.float16),
        "expression": rng.normal(size=(3, 5, 3)).astype(np.float16),
        "landmarks68": np.zeros(68, np.int32),
        "extra": np.ones(4, np.float32),
    }


@pytest.fixture
def file(tmp_path, tensors):
    path = tmp_path / "face.safetensors"
    save_file(tensors, path, metadata={"card": json.dumps({"name": "tiny", "unit": "dm"})})
    return path


def test_reads_what_was_written(file, tensors):
    face, further = read_morphable(file)
    assert face.widths == FaceWidths("tiny", identity=2, expression=3, texture=0, gamma=0)
    assert face.digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert face.card["unit"] == "dm"
    assert face.mean_V3.dtype == np.float64
    np.testing.assert_array_equal(face.expression_EV3, tensors["expression"])
    assert further.keys() == {"extra"}


def test_shape_is_linear_and_broadcasts_one_identity_over_frames(file):
    face, _ = read_morphable(file)
    identity, expression = np.array([1.0, -2.0]), np.array([[0.0, 0, 0], [1, 0, 3]])
    shapes = face.shape(identity, expression)
    own = face.mean_V3 + face.identity_IV3[0] - 2 * face.identity_IV3[1]
    np.testing.assert_allclose(shapes[0], own)
    np.testing.assert_allclose(shapes[1], own + face.expression_EV3[0] + 3 * face.expression_EV3[2])


@pytest.mark.parametrize("lacks", ["mean", "identity", "expression", "landmarks68"])
def test_a_missing_tensor_is_named(tmp_path, tensors, lacks):
    path = tmp_path / "face.safetensors"
    save_file({k: v for k, v in tensors.items() if k != lacks}, path, {"card": '{"name": "x"}'})
    with pytest.raises(ValueError, match=lacks):
        read_morphable(path)


@pytest.mark.parametrize("metadata", [None, {"card": "{"}, {"card": "[]"}, {"card": "{}"}])
def test_a_file_without_a_card_is_refused(tmp_path, tensors, metadata):
    path = tmp_path / "face.safetensors"
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match="is not a face model"):
        read_morphable(path)


def test_another_kind_of_file_is_refused(tmp_path):
    path = tmp_path / "face.safetensors"
    path.write_bytes(b"no tensors in here")
    with pytest.raises(ValueError, match="is not a face model"):
        read_morphable(path)
    with pytest.raises(OSError, match="absent"):
        read_morphable(tmp_path / "absent")
