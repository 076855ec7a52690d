import socket
from pathlib import Path

import made_networks
import numpy as np
import pytest
import torch
from made_networks import digest_of, draw_marks, grey_picture, write_fan

from preprocess.landmarks.backend import Detection, FaceObservation
from preprocess.landmarks.face_alignment import FanLandmarks
from preprocess.landmarks.ibug68 import five_of_68

CELL_PX = 4.0  # of the made face below: FAN's heat maps have 64 cells a side
REGION_PX = 64 * CELL_PX


def _box_of(middle):
    """The box for which FAN looks at a square of 256 px about a place."""
    side = REGION_PX / 200 * 195 / 2
    low = np.array(middle) - side / 2 + [0, 0.12 * side]
    return np.r_[low, low + side]


def _found_at(middle):
    return Detection(_box_of(middle), np.zeros((2, 2)), 1.0)


def _places(middle):
    """Places for 68 marks about a middle."""
    column, row = np.divmod(np.arange(68), 8)
    return np.c_[25 * column - 100, 25 * row - 87] + np.array(middle, float)


@pytest.fixture(scope="module")
def backend(tmp_path_factory):
    """FAN with weights that find coloured marks; the network is the published one in full."""
    file = write_fan(tmp_path_factory.mktemp("fan") / "2DFAN4-11f355bf06.pth.tar")
    landmarks = FanLandmarks(file, digest_of(file))
    yield landmarks
    landmarks.close()


@pytest.fixture(scope="module")
def marked():
    """Film frame with the marks about (203.4, 151.2), and their places."""
    places = _places((203.4, 151.2))
    return draw_marks(grey_picture(300, 400), places, CELL_PX), places


@pytest.fixture(scope="module")
def face(backend, marked):
    return backend.observe(marked[0], _found_at((203.4, 151.2)))


def test_every_landmark_is_found_at_its_mark(face, marked):
    """A heat map has a peak in the right cell, and moves it by a quarter cell."""
    off = face.landmarks68_px - marked[1]
    assert np.abs(off).max() < 0.75 * CELL_PX
    assert np.abs(off.mean(axis=0)).max() < 0.3 * CELL_PX
    assert 0.8 < face.score <= 1


def test_hull_and_five_points_are_those_of_the_landmarks(face):
    points = face.landmarks68_px
    np.testing.assert_array_equal(face.box_xyxy_px, [*points.min(axis=0), *points.max(axis=0)])
    # Spec 2.2.1, counted from 1: eyes 37 and 40, 43 and 46; nose 31; mouth 49 and 55.
    one = np.r_[[[np.nan] * 2], points]
    eyes = [(one[37] + one[40]) / 2, (one[43] + one[46]) / 2]
    np.testing.assert_allclose(face.points5_px, [*eyes, one[31], one[49], one[55]])
    assert face.mesh_px is None


def test_five_points_of_many_faces_at_once(face):
    many = np.stack([face.landmarks68_px, face.landmarks68_px + 3])
    np.testing.assert_allclose(five_of_68(many)[1], face.points5_px + 3)


def test_it_agrees_with_the_package_on_the_whole_frame(backend, face, marked):
    """The package alone rounds down to whole pixels."""
    (points,) = backend._network.get_landmarks_from_image(
        marked[0], detected_faces=[_box_of((203.4, 151.2))]
    )
    off = face.landmarks68_px - points - 0.5
    near = np.abs(off).max(axis=1) < 0.75 * CELL_PX
    assert near.mean() > 0.9  # a mark that falls between two cells may be taken for another
    assert np.abs(off[near].mean(axis=0)).max() < 0.2 * CELL_PX


def test_tracking_looks_where_the_face_was(backend, marked, face):
    """Of a face that lies 8 px further left in the frame before, with faint marks."""
    before = FaceObservation(
        _box_of((195.4, 151.2)), face.points5_px, face.landmarks68_px, None, 1.0
    )
    faint = draw_marks(grey_picture(300, 400), marked[1], CELL_PX, contrast=0.6)
    found = backend.track(faint, before)
    near = np.abs(found.landmarks68_px - marked[1]).max(axis=1) < 0.75 * CELL_PX
    assert near.mean() > 0.9
    # What is seen is 0.6 of the code, and the heat is 1 - |seen - code|^2 = 1 - 0.4^2.
    assert found.score == pytest.approx(face.score * 0.84, abs=0.05)


def test_tracking_gives_up_where_there_is_no_face(backend, face):
    grey = grey_picture(300, 400)
    assert backend.track(grey, face) is None
    outside = FaceObservation(face.box_xyxy_px + 9000, face.points5_px, None, None, 1.0)
    assert backend.track(grey, outside) is None


def test_the_same_picture_gives_the_same_numbers(backend, marked, face):
    backend.close()
    again = backend.observe(marked[0], _found_at((203.4, 151.2)))
    np.testing.assert_array_equal(again.landmarks68_px, face.landmarks68_px)
    assert again.score == face.score


def test_loading_needs_neither_network_nor_torchs_cache(tmp_path, monkeypatch):
    def forbidden(*_):
        raise AssertionError("nothing may be asked for over the network")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    file = write_fan(tmp_path / "mine.pth.tar")
    assert FanLandmarks(file, digest_of(file))._network.device == "cpu"
    assert not (tmp_path / "torch").exists()


def test_identity_needs_no_weights():
    assert FanLandmarks(Path("nowhere"), "abc").identity() == {
        "backend": "face-alignment",
        "version": "1",
        "weights_sha256": "abc",
    }


def _refused(file, match):
    with pytest.raises(ValueError, match=match):
        FanLandmarks(file, digest_of(file)).observe(grey_picture(64, 64), _found_at((32, 32)))


def test_other_files_are_refused(tmp_path):
    file = tmp_path / "other.pth.tar"
    file.write_bytes(b"something else")
    with pytest.raises(ValueError, match="sha256"):
        FanLandmarks(file, "abc").observe(grey_picture(64, 64), _found_at((32, 32)))
    _refused(file, match="no torch file")
    torch.save({"conv1.weight": torch.zeros(1)}, file)
    _refused(file, match="holds another network")
    torch.save([1, 2], file)
    _refused(file, match="holds no network")


def test_nothing_in_the_file_is_executed(tmp_path):
    file = tmp_path / "evil.pth.tar"
    torch.save({"conv1.weight": made_networks.write_fan}, file)
    _refused(file, match="more than tensors")
