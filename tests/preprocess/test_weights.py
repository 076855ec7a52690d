import hashlib

import pytest

from preprocess.weights import check_digest


def test_the_right_file_passes(tmp_path):
    file = tmp_path / "some.onnx"
    file.write_bytes(b"weights")
    check_digest(file, hashlib.sha256(b"weights").hexdigest())


def test_another_file_is_refused_by_name(tmp_path):
    file = tmp_path / "some.onnx"
    file.write_bytes(b"other weights")
    with pytest.raises(ValueError, match=r"some\.onnx has sha256 .*, expected abc"):
        check_digest(file, "abc")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        check_digest(tmp_path / "nowhere", "abc")
