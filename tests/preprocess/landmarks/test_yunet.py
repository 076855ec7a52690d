from pathlib import Path

import cv2
import made_networks
import numpy as np
import pytest
from made_networks import digest_of, enlarged, red_box, red_cell, red_points

from preprocess.crop import warp
from preprocess.landmarks.yunet import YuNet


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Detector that answers to one red cell of 8 px."""
    file = made_networks.write_yunet(tmp_path_factory.mktemp("made") / "yunet.onnx")
    return YuNet(file, digest_of(file))


@pytest.fixture(scope="module")
def yunet(asset_file):
    file = asset_file("yunet_n_dynamic.onnx")
    return YuNet(file, digest_of(file))


def test_a_face_is_where_the_network_says(made):
    (found,) = made.find(red_cell(100, 180, 5, 3))
    np.testing.assert_allclose(found.box_xyxy_px, red_box(5, 3), atol=1e-3)
    np.testing.assert_allclose(found.points_px, red_points(5, 3), atol=1e-3)
    assert found.score == pytest.approx(0.9, abs=1e-5)


def test_coordinates_are_those_of_the_film(made):
    (found,) = made.find(enlarged(red_cell(320, 640, 5, 3), 3))
    np.testing.assert_allclose(found.box_xyxy_px, red_box(5, 3, 24), atol=1e-2)


def test_blue_is_not_red(made):
    assert made.find(red_cell(100, 180, 5, 3)[..., ::-1].copy()) == []


def test_the_astronauts_face(yunet, astronaut):
    (found,) = yunet.find(astronaut)
    expected = [[203, 101], [247, 103], [224, 129], [203, 140], [246, 140]]
    np.testing.assert_allclose(found.points_px, expected, atol=6)
    assert found.score > 0.8


@pytest.mark.parametrize(("height", "width"), [(1080, 1920), (1920, 1080)])
def test_a_small_face_in_a_large_picture(yunet, astronaut, height, width):
    """Her face, 95 px high, at 64 px somewhere in a film frame."""
    zoom, corner = 64 / 95, np.array([300, 700])
    place = np.array([[zoom, 0, corner[0]], [0, zoom, corner[1]], [0, 0, 1]])
    (found,) = yunet.find(warp(astronaut, place, width, height))
    np.testing.assert_allclose(found.points_px[2], corner + zoom * np.array([224, 129]), atol=8)


def test_many_faces_come_best_first(yunet, astronaut):
    half = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)
    dim = (half * 0.5).astype(np.uint8)
    scores = [found.score for found in yunet.find(np.tile(np.hstack([half, dim]), (2, 2, 1)))]
    assert len(scores) == 8
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("shape", [(1, 1), (2, 700), (700, 2), (90, 90)])
@pytest.mark.parametrize("level", [0, 255])
def test_flat_pictures_of_any_size_have_no_face(yunet, shape, level):
    assert yunet.find(np.full((*shape, 3), level, np.uint8)) == []


def test_the_same_picture_gives_the_same_numbers(yunet, asset_file, astronaut):
    file = asset_file("yunet_n_dynamic.onnx")
    (first,) = yunet.find(astronaut)
    yunet.find(astronaut[:300])  # another size in between leaves nothing behind
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1 if threads > 1 else 4)
    try:
        (again,) = YuNet(file, digest_of(file)).find(astronaut)
    finally:
        cv2.setNumThreads(threads)
    np.testing.assert_array_equal(first.points_px, again.points_px)
    np.testing.assert_array_equal(first.box_xyxy_px, again.box_xyxy_px)
    assert first.score == again.score


def test_identity_needs_no_weights():
    identity = YuNet(Path("nowhere"), "abc").identity()
    assert identity["weights_sha256"] == "abc"
    assert identity != YuNet(Path("nowhere"), "abc", input_px=320).identity()
    assert identity != YuNet(Path("nowhere"), "abc", min_score=0.5).identity()


def test_other_files_are_refused(tmp_path):
    file = tmp_path / "other.onnx"
    file.write_bytes(b"something else")
    with pytest.raises(ValueError, match="sha256"):
        YuNet(file, "abc").find(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="no YuNet network"):
        YuNet(file, digest_of(file)).find(np.zeros((64, 64, 3), np.uint8))


def test_another_network_is_refused(tmp_path):
    file = made_networks.write_arcface(tmp_path / "arcface.onnx")
    with pytest.raises(ValueError, match="no YuNet network"):
        YuNet(file, digest_of(file)).find(np.zeros((64, 64, 3), np.uint8))


def test_it_works_again_after_close(made):
    made.close()
    assert len(made.find(red_cell(100, 180, 5, 3))) == 1
