import subprocess
import sys
from pathlib import Path

import made_networks
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_networks import digest_of, enlarged, red_box, red_cell, red_points

from preprocess.crop import transform, warp
from preprocess.landmarks.backend import Detection, FaceObservation, observe_all
from preprocess.landmarks.insightface import Scrfd, ScrfdLandmarks, unresized

BLANK = np.zeros((96, 128, 3), np.uint8)


@pytest.fixture(scope="module")
def made_file(tmp_path_factory):
    """Detector that answers to one red cell of 8 px."""
    return made_networks.write_scrfd(tmp_path_factory.mktemp("made") / "scrfd.onnx")


@pytest.fixture(scope="module")
def made(made_file):
    return Scrfd(made_file, digest_of(made_file))


@pytest.fixture(scope="module")
def scrfd(asset_file):
    file = asset_file("scrfd_500m_bnkps.onnx")
    return Scrfd(file, digest_of(file))


@pytest.fixture(scope="module")
def backend(asset_file):
    file = asset_file("scrfd_500m_bnkps.onnx")
    return ScrfdLandmarks(file, digest_of(file))


@pytest.fixture(scope="module")
def face(scrfd, backend, astronaut):
    (found,) = observe_all(astronaut, scrfd, backend)
    return found


def test_a_face_is_where_the_network_says(made):
    (found,) = made.find(red_cell(100, 180, 5, 3))
    np.testing.assert_allclose(found.box_xyxy_px, red_box(5, 3))
    np.testing.assert_allclose(found.points_px, red_points(5, 3))
    assert found.score == pytest.approx(0.9)


def test_coordinates_are_those_of_the_film(made):
    (found,) = made.find(enlarged(red_cell(320, 640, 5, 3), 3))
    np.testing.assert_allclose(found.box_xyxy_px, red_box(5, 3, 24), atol=0.01)


def test_a_face_too_large_for_the_fine_look_is_found_by_the_coarse_one(made):
    """A red square of 32 px is no red cell, but is one at a quarter of the size."""
    (found,) = made.find(red_cell(640, 640, 5, 3, size_px=32))
    np.testing.assert_allclose(found.box_xyxy_px, red_box(5, 3, 32))


def test_a_file_of_fixed_size_sees_every_picture_at_that_size(tmp_path):
    file = made_networks.write_scrfd(tmp_path / "fixed.onnx", fixed_px=320)
    (found,) = Scrfd(file, digest_of(file)).find(enlarged(red_cell(320, 320, 5, 3), 2))
    np.testing.assert_allclose(found.box_xyxy_px, red_box(5, 3, 16), atol=0.01)


@given(st.integers(1, 60), st.integers(1, 60))
def test_the_package_takes_inputs_as_they_are(columns, rows):
    """It works out one side from the quotient of both, in floating point."""
    width, height = unresized(32 * columns, 32 * rows)
    assert height == 32 * rows
    assert width % 32 == 0
    assert 32 * columns <= width <= 32 * columns + 64
    assert int(width * (float(height) / width)) == height


def test_an_input_that_the_package_would_shrink_is_widened(made):
    (found,) = made.find(red_cell(480, 352, 30, 40))
    np.testing.assert_allclose(found.box_xyxy_px, red_box(30, 40))


def test_a_face_is_followed_by_its_overlap(made_file):
    """In a region of 160 px about boxes of 80 px, which the network sees pixel by pixel."""
    backend = ScrfdLandmarks(made_file, digest_of(made_file))
    rgb = red_cell(320, 320, 20, 15)

    def follow(x, y):
        box = np.array([x - 40.0, y - 40, x + 40, y + 40])
        return backend.track(rgb, FaceObservation(box, np.zeros((5, 2)), None, None, 1.0))

    expected = red_box(20, 15)
    np.testing.assert_allclose(follow(160, 120).box_xyxy_px, expected)
    np.testing.assert_allclose(follow(144, 136).points5_px, red_points(20, 15))
    assert follow(200, 160) is None  # it is in the region, but IoU with the last box is 0.16


def test_the_points_of_the_detector_are_kept(made_file, made):
    backend = ScrfdLandmarks(made_file, digest_of(made_file))
    (found,) = made.find(red_cell(96, 128, 5, 3))
    face = backend.observe(BLANK, found)
    np.testing.assert_array_equal(face.points5_px, found.points_px)
    np.testing.assert_array_equal(face.box_xyxy_px, found.box_xyxy_px)
    assert (face.score, face.landmarks68_px, face.mesh_px) == (found.score, None, None)


def test_a_detector_of_two_points_is_not_enough(backend):
    with pytest.raises(ValueError, match="gives five"):
        backend.observe(BLANK, Detection(np.array([0.0, 0, 9, 9]), np.zeros((2, 2)), 1.0))


def test_the_astronauts_face(face):
    expected = [[203, 101], [247, 103], [224, 129], [203, 140], [246, 140]]
    np.testing.assert_allclose(face.points5_px, expected, atol=5)
    assert face.score > 0.6


def test_a_face_that_fills_the_picture_is_found(scrfd, astronaut):
    """At 640 px alone it is not: the network knows no faces of 600 px."""
    zoom = 6.3
    place = np.array([[zoom, 0, -zoom * 175], [0, zoom, -zoom * 62], [0, 0, 1]])
    (found,) = scrfd.find(warp(astronaut, place, 640, 640))
    expected = transform(place, np.array([[224.0, 129]]))
    np.testing.assert_allclose(found.points_px[2:3], expected, atol=20)


def test_tracking_finds_the_face_again_after_motion(backend, scrfd, astronaut, face):
    still = backend.track(astronaut, face)
    moved = backend.track(np.roll(astronaut, (4, 9), axis=(0, 1)), face)
    np.testing.assert_allclose(moved.points5_px - still.points5_px, [[9, 4]] * 5, atol=3)
    expected = [[203, 101], [247, 103], [224, 129], [203, 140], [246, 140]]
    np.testing.assert_allclose(still.points5_px, expected, atol=5)


def test_tracking_stays_with_its_own_face(backend, scrfd, astronaut, face):
    """Of two faces side by side, the one that was followed; not the other, nearer one."""
    part = astronaut[50:180, 170:285]
    pair = np.hstack([part, part])
    left, right = sorted(observe_all(pair, scrfd, backend), key=lambda each: each.points5_px[0, 0])
    for followed in (left, right):
        tracked = backend.track(pair, followed)
        np.testing.assert_allclose(tracked.points5_px, followed.points5_px, atol=4)


def test_tracking_gives_up_where_there_is_no_face(backend, astronaut, face):
    assert backend.track(np.zeros_like(astronaut), face) is None
    away = FaceObservation(face.box_xyxy_px + 300, face.points5_px, None, None, 1.0)
    assert backend.track(astronaut, away) is None
    outside = FaceObservation(face.box_xyxy_px - 5000, face.points5_px, None, None, 1.0)
    assert backend.track(astronaut, outside) is None


@pytest.mark.parametrize("shape", [(1, 1), (2, 700), (700, 2), (90, 90)])
@pytest.mark.parametrize("level", [0, 255])
def test_flat_pictures_of_any_size_have_no_face(scrfd, shape, level):
    assert scrfd.find(np.full((*shape, 3), level, np.uint8)) == []


def test_the_same_picture_gives_the_same_numbers(scrfd, asset_file, backend, astronaut, face):
    file = asset_file("scrfd_500m_bnkps.onnx")
    scrfd.find(astronaut[:300])  # another size in between leaves nothing behind
    (again,) = Scrfd(file, digest_of(file)).find(astronaut)
    np.testing.assert_array_equal(again.points_px, face.points5_px)
    first, second = backend.track(astronaut, face), backend.track(astronaut, face)
    np.testing.assert_array_equal(first.points5_px, second.points5_px)


def test_identity_needs_no_weights():
    identity = Scrfd(Path("nowhere"), "abc").identity()
    assert identity["weights_sha256"] == "abc"
    assert identity != Scrfd(Path("nowhere"), "abc", input_px=320).identity()
    assert ScrfdLandmarks(Path("nowhere"), "abc").identity() == {
        "backend": "insightface",
        "version": "1",
        "weights_sha256": "abc",
    }


def test_other_files_are_refused(tmp_path):
    file = tmp_path / "other.onnx"
    file.write_bytes(b"something else")
    with pytest.raises(ValueError, match="sha256"):
        Scrfd(file, "abc").find(BLANK)
    with pytest.raises(ValueError, match="no ONNX network"):
        Scrfd(file, digest_of(file)).find(BLANK)


def test_another_network_is_refused(tmp_path):
    file = made_networks.write_arcface(tmp_path / "arcface.onnx")
    with pytest.raises(ValueError, match="no SCRFD network with five points: it has 1 outputs"):
        Scrfd(file, digest_of(file)).find(BLANK)


def test_nothing_is_written_into_the_home_folder(made_file, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    script = (
        "import sys, numpy as np; from pathlib import Path;"
        "from preprocess.landmarks.insightface import Scrfd;"
        "import preprocess.people.embedding;"
        "Scrfd(Path(sys.argv[1]), sys.argv[2]).find(np.zeros((64, 64, 3), np.uint8))"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(made_file), digest_of(made_file)],
        env={"HOME": str(home), "PATH": "", "PYTHONPATH": str(Path(__file__).parents[3])},
        check=True,
        timeout=120,
    )
    assert list(home.rglob("*")) == []
