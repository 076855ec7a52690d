"""MATLAB files as scipy writes them, and by hand what it does not write."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.io import savemat

from preprocess.face3d.mat_file import read_mat

TYPES = ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]
SHAPES = arrays.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=5)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("mat") / "some.mat"


@given(data=st.data(), compressed=st.booleans())
def test_reads_what_scipy_writes(file, data, compressed):
    kind = data.draw(st.sampled_from(TYPES))
    values = data.draw(arrays.arrays(kind, SHAPES))
    name = data.draw(st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,30}", fullmatch=True))
    others = {"one_before": "text", "after": {"a": [1, 2]}}
    savemat(file, {**others, name: values}, do_compression=compressed)
    found = read_mat(file, [name])
    assert found.keys() == {name}
    assert found[name].dtype == values.dtype
    np.testing.assert_array_equal(found[name], values)


def element(kind, content, order="<"):
    return struct.pack(f"{order}II", kind, len(content)) + content + bytes(-len(content) % 8)


THREE = element(2, b"\1\2\3")


def variable(order="<", kind=6, values=THREE, sizes=(1, 3)):
    return element(
        14,
        element(6, struct.pack(f"{order}II", kind, 0), order)
        + element(5, struct.pack(f"{order}{len(sizes)}i", *sizes), order)
        + element(1, b"x", order)
        + values,
        order,
    )


def header(order="<", version=0x100):
    mark = b"IM" if order == "<" else b"MI"
    return b"MATLAB 5.0".ljust(124) + struct.pack(f"{order}H", version) + mark


def test_whole_numbers_that_matlab_stored_narrowly_are_doubles_again(file):
    file.write_bytes(header() + variable())
    found = read_mat(file, ["x"])["x"]
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [[1, 2, 3]])


def test_the_other_byte_order(file):
    values = element(9, struct.pack(">3d", 0.5, -2, 1e300), ">")
    file.write_bytes(header(">") + variable(">", values=values))
    np.testing.assert_array_equal(read_mat(file, ["x"])["x"], [[0.5, -2, 1e300]])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "its header is another"),
        (b"<html></html>", "its header is another"),
        (header(version=0x200), "save it with -v7"),
        (header(), "lacks x"),
        (header() + variable()[:-1], "ends in the middle"),
        (header() + b"\1\2\3", "unpack"),
        (header() + element(15, b"no stream"), "decompress"),
        (header() + element(15, zlib.compress(b"\1")), "unpack"),
        (header() + element(14, b""), "no name"),
        (header() + variable(kind=4), "no numbers"),
        (header() + variable(kind=0x806), "complex"),
        (header() + variable(values=b""), "x is damaged"),
        (header() + variable(values=element(39, b"\1\2\3")), "x is damaged"),
        (header() + variable(sizes=(2, 3)), "not as many"),
        (header() + variable(sizes=(-1, -3)), "not as many"),
        (header() + variable(sizes=()), "not as many"),
        (header() + variable(values=struct.pack("<II", 2, 99)), "longer than the whole"),
        (header() + variable(values=struct.pack("<HHI", 2, 5, 99)), "longer than the whole"),
    ],
)
def test_whatever_else_is_refused_in_one_sentence(file, content, complaint):
    file.write_bytes(content)
    with pytest.raises(ValueError, match=complaint) as caught:
        read_mat(file, ["x"])
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), compressed=st.booleans())
def test_a_damaged_file_is_refused_or_read_but_never_worse(file, data, compressed):
    savemat(file, {"a": np.ones((3, 4)), "x": np.arange(6.0)}, do_compression=compressed)
    whole = file.read_bytes()
    content = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 4)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content)
    try:
        found = read_mat(file, ["x"])
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017  either end is right
    else:
        assert found.keys() == {"x"}


def test_an_absent_file_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="absent"):
        read_mat(tmp_path / "absent", ["x"])
