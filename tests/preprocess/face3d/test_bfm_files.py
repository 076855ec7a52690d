"""The face model's published files, made up small, through the true readers."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_bfm import KEPT, made_converted, made_originals, write_converted, write_originals
from scipy.io import savemat

from preprocess.face3d import bfm_files
from preprocess.face3d.bfm_files import CONVERTED, ORIGINALS, face_files, read_bfm


@pytest.fixture
def converted(tmp_path):
    made = made_converted()
    write_converted(tmp_path, made)
    return tmp_path, made


@pytest.fixture
def originals(tmp_path):
    made = made_originals()
    write_originals(tmp_path, made)
    return tmp_path, made


def as_published_script_converts(made):
    """`BFM_model_front.mat` from the originals, one kept vertex after another."""
    vertex_of_expressions = made["idx"].ravel().astype(int) - 1
    vertex_of_model = made["trimIndex"].ravel().astype(int)[vertex_of_expressions] - 1
    out = {name: [] for name in ("meanshape", "idBase", "exBase", "meantex", "texBase")}
    for of_model, of_expressions in zip(vertex_of_model, vertex_of_expressions, strict=True):
        for axis in range(3):
            row, moved = 3 * of_model + axis, 3 * of_expressions + axis
            out["meanshape"].append(made["shapeMU"][row, 0] / 1e5)
            out["idBase"].append(made["shapePC"][row, :80] * made["shapeEV"][:80, 0] / 1e5)
            out["exBase"].append(made["expPC"][:64, moved] * made["expEV"][:64] / 1e5)
            out["meantex"].append(made["texMU"][row, 0])
            out["texBase"].append(made["texPC"][row, :80] * made["texEV"][:80, 0])
    out = {name: np.array(values) for name, values in out.items()}
    return {
        **out,
        "meanshape": out["meanshape"][None],
        "meantex": out["meantex"][None],
        "tri": made["tri"],
        "keypoints": made["keypoints"],
    }


def same(face, other, tolerance):
    for (name, tensor), (_, expected) in zip(
        face.named_buffers(), other.named_buffers(), strict=True
    ):
        np.testing.assert_allclose(tensor, expected, rtol=tolerance, atol=tolerance, err_msg=name)


# the converted file


def test_the_converted_file_says_where_each_vertex_is(converted):
    folder, made = converted
    face = read_bfm(folder)
    mean = made["meanshape"].reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(face.mean_V3, mean - mean.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(face.mean_V3.mean(dim=0), 0, atol=1e-6)
    for vertex, axis, direction in ((0, 0, 0), (5, 2, 63), (KEPT - 1, 1, 79)):
        row = 3 * vertex + axis
        assert face.identity_IV3[direction, vertex, axis] == made["idBase"][row, direction]
        np.testing.assert_allclose(
            face.texture_XV3[direction, vertex, axis], made["texBase"][row, direction] / 255
        )
        moved = face.expression_EV3[direction % 64, vertex, axis]
        assert moved == made["exBase"][row, direction % 64]
    np.testing.assert_allclose(face.albedo_V3, made["meantex"].reshape(-1, 3) / 255, rtol=1e-6)
    np.testing.assert_array_equal(face.triangles_F3, made["tri"] - 1)
    np.testing.assert_array_equal(face.landmarks_L, made["keypoints"].ravel() - 1)


def test_a_compressed_file_in_double_precision_reads_the_same(converted, tmp_path):
    folder, made = converted
    other = tmp_path / "other"
    other.mkdir()
    doubles = {name: values.astype(np.float64) for name, values in made.items()}
    savemat(other / CONVERTED, doubles, do_compression=True)
    same(read_bfm(other), read_bfm(folder), tolerance=0)


def test_columns_or_rows_are_both_vectors(converted, tmp_path):
    """The two public versions of the script write the mean as a row and as a column."""
    folder, made = converted
    other = tmp_path / "other"
    other.mkdir()
    turned = {name: made[name].T for name in ("meanshape", "meantex", "keypoints")}
    write_converted(other, {**made, **turned})
    same(read_bfm(other), read_bfm(folder), tolerance=0)


# the originals


def test_the_originals_give_what_the_published_script_makes_of_them(originals, tmp_path):
    folder, made = originals
    other = tmp_path / "other"
    other.mkdir()
    write_converted(other, as_published_script_converts(made))
    face = read_bfm(folder)
    assert face.mean_V3.shape == (KEPT, 3)
    assert face.expression_EV3.abs().max() > 1e-4
    same(face, read_bfm(other), tolerance=1e-6)


def test_the_converted_file_is_preferred(originals):
    folder, _ = originals
    assert [path.name for path in face_files(folder)] == list(ORIGINALS)
    write_converted(folder, made_converted())
    assert [path.name for path in face_files(folder)] == [CONVERTED]


@pytest.mark.parametrize("lacks", ORIGINALS)
def test_a_missing_file_is_named(originals, lacks):
    folder, _ = originals
    (folder / lacks).unlink()
    with pytest.raises(FileNotFoundError, match=f"has no {CONVERTED}, and lacks .*: {lacks}$"):
        read_bfm(folder)


def test_an_empty_folder_is_told_all_that_it_lacks(tmp_path):
    with pytest.raises(FileNotFoundError, match=", ".join(ORIGINALS)):
        face_files(tmp_path)


# other contents


@pytest.mark.parametrize("lacks", ["meanshape", "idBase", "texBase", "tri", "keypoints"])
def test_a_missing_array_is_named(tmp_path, lacks):
    made = made_converted()
    del made[lacks]
    write_converted(tmp_path, made)
    with pytest.raises(ValueError, match=f"lacks {lacks}"):
        read_bfm(tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("idBase", lambda x: x[:, :79], "idBase is .* is needed"),
        ("idBase", lambda x: x.T, "idBase is .* is needed"),
        ("exBase", lambda x: x[:-3], "exBase is .* is needed"),
        ("meanshape", lambda x: x[:, :-1], "is needed"),
        ("texBase", lambda x: x * np.nan, "texBase is empty or not finite"),
        ("meantex", lambda x: "white", "meantex holds no numbers"),
        ("idBase", lambda x: x * 1j, "idBase holds no numbers"),
        ("tri", lambda x: x[:, :2], "three corners"),
        ("tri", lambda x: x - 1, "none of 1 to 120"),
        ("tri", lambda x: x + 0.5, "none of 1 to 120"),
        ("tri", lambda x: x + KEPT, "none of 1 to 120"),
        ("keypoints", lambda x: x[:, :67], "keypoints is .* is needed"),
        ("keypoints", lambda x: x * 0, "none of 1 to 120"),
        ("keypoints", lambda x: x[:, :0], "keypoints is empty"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(tmp_path, name, change, complaint):
    made = made_converted()
    made[name] = change(made[name])
    write_converted(tmp_path, made)
    with pytest.raises(ValueError, match=complaint) as caught:
        read_bfm(tmp_path)
    assert "\n" not in str(caught.value)
    assert CONVERTED in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"trimIndex": np.ones((139, 1))}, "do not belong together"),
        ({"trimIndex": np.full((140, 1), 151.0)}, "none of 1 to 150"),
        ({"idx": np.full((120, 1), 141.0)}, "none of 1 to 140"),
        ({"idx": np.ones((119, 1))}, "none of 1 to 119"),
        ({"expEV": np.ones(78)}, "std_exp.txt: the row is"),
        ({"expPC": np.full((79, 420), np.inf)}, "not finite"),
        ({"shapeEV": np.ones((79, 1)), "shapePC": np.ones((450, 79))}, "at least 80"),
        ({"texPC": np.ones((450, 198))}, "texPC is"),
        ({"shapePC": np.ones((447, 199))}, "shapePC is"),
    ],
)
def test_originals_that_do_not_fit_each_other_are_refused(tmp_path, changes, complaint):
    write_originals(tmp_path, {**made_originals(), **changes})
    with pytest.raises(ValueError, match=complaint) as caught:
        read_bfm(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x4f\0\0\0", b"\xff" * 400, b"<html>" * 99])
def test_other_expressions_are_refused(originals, content):
    folder, _ = originals
    (folder / bfm_files.EXPRESSIONS).write_bytes(content)
    with pytest.raises(ValueError, match="its length is wrong"):
        read_bfm(folder)


@pytest.mark.parametrize("content", [b"1 2 three", b"\xff\xfe1 2", b""])
def test_another_row_of_spreads_is_refused(originals, content):
    folder, _ = originals
    (folder / bfm_files.EXPRESSION_SPREAD).write_bytes(content)
    with pytest.raises(ValueError, match=r"std_exp\.txt"):
        read_bfm(folder)


@pytest.fixture(scope="module")
def damaged_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    made = made_converted(vertices=68)
    savemat(folder / CONVERTED, made, do_compression=True)
    return folder, (folder / CONVERTED).read_bytes()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_damaged_file_is_refused_or_read_but_never_worse(damaged_folder, data):
    folder, whole = damaged_folder
    content = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            at = data.draw(st.integers(0, min(len(content) - 1, 400)))
            content[at] = data.draw(st.integers(0, 255))
    (folder / CONVERTED).write_bytes(content)
    try:
        face = read_bfm(folder)
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017  either end is right
    else:
        assert face.mean_V3.shape == (68, 3)


@pytest.mark.parametrize("content", [b"", b"<html></html>", b"\x89HDF\r\n\x1a\n" + bytes(600)])
def test_another_kind_of_file_is_refused(tmp_path, content):
    (tmp_path / CONVERTED).write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as a MATLAB file"):
        read_bfm(tmp_path)
