import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from preprocess.crop import transform
from preprocess.landmarks.backend import observe_all
from preprocess.landmarks.blazeface import BlazeFace
from preprocess.landmarks.mediapipe import MediapipeLandmarks
from preprocess.landmarks.mesh_points import eye_distance


@pytest.fixture(scope="module")
def weights(landmarker_task):
    return landmarker_task, hashlib.sha256(landmarker_task.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def backend(weights):
    landmarks = MediapipeLandmarks(*weights)
    yield landmarks
    landmarks.close()


@pytest.fixture(scope="module")
def detect(weights, backend):
    detector = BlazeFace(*weights)
    yield lambda picture: observe_all(picture, detector, backend)
    detector.close()


@pytest.fixture(scope="module")
def portrait(portrait_png):
    return cv2.imread(str(portrait_png))[..., ::-1].copy()


@pytest.fixture(scope="module")
def face(detect, portrait):
    (found,) = detect(portrait)
    return found


def _apart(mesh, other):
    """Mean distance of two meshes in the picture, in inter-ocular distances."""
    off = np.linalg.norm(mesh[:, :2] - other[:, :2], axis=1).mean()
    return off / float(eye_distance(mesh[:, :2]))


def test_the_astronauts_face_is_where_it_is(face):
    """Eyes, nose and mouth read off the picture by eye."""
    expected = [[203, 101], [247, 103], [224, 129], [203, 140], [246, 140]]
    np.testing.assert_allclose(face.points5_px, expected, atol=4)
    assert face.score > 0.9
    assert face.landmarks68_px.shape == (68, 2)
    assert face.mesh_px.shape == (478, 3)
    low, high = face.box_xyxy_px.reshape(2, 2)
    assert (face.mesh_px[:, :2] >= low).all()
    assert (face.mesh_px[:, :2] <= high).all()


def test_depth_is_on_the_scale_of_the_picture_and_grows_away(face):
    nose, ears = face.mesh_px[1], face.mesh_px[[127, 356]]
    depth = (ears[:, 2].mean() - nose[2]) / (ears[1, 0] - ears[0, 0])
    assert 0.4 < depth < 0.9


@pytest.mark.parametrize(("zoom", "degrees"), [(1.0, 25), (1.0, -40), (0.5, 0), (2.7, 10)])
def test_the_mesh_turns_and_grows_with_the_picture(detect, portrait, face, zoom, degrees):
    turn = np.deg2rad(degrees)
    affine = np.eye(3)
    affine[:2, :2] = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    side = int(512 * zoom)
    affine[:2, 2] = side / 2 - affine[:2, :2] @ face.points5_px[2]
    shifted = affine.copy()
    shifted[:2, 2] += affine[:2, :2] @ [0.5, 0.5] - 0.5
    moved = cv2.warpAffine(portrait, shifted[:2], (side, side), flags=cv2.INTER_AREA)
    (found,) = detect(moved)
    expected = transform(affine, face.mesh_px[:, :2])
    assert _apart(expected, found.mesh_px) < 0.03
    assert np.ptp(found.mesh_px[:, 2]) == pytest.approx(zoom * np.ptp(face.mesh_px[:, 2]), rel=0.1)


def test_tracking_agrees_with_detection_and_survives_motion(backend, detect, portrait, face):
    moved = np.roll(portrait, (4, 9), axis=(0, 1))
    tracked = backend.track(moved, face)
    (detected,) = detect(moved)
    assert _apart(tracked.mesh_px, detected.mesh_px) < 0.02
    np.testing.assert_allclose(tracked.points5_px - face.points5_px, [[9, 4]] * 5, atol=1)


def test_tracking_gives_up_where_there_is_no_face(backend, portrait, face):
    assert backend.track(np.zeros_like(portrait), face) is None
    assert backend.track(portrait[::-1].copy(), face) is None


def test_a_face_without_a_mesh_cannot_be_followed(backend, portrait, face):
    bare = type(face)(face.box_xyxy_px, face.points5_px, face.landmarks68_px, None, 1.0)
    with pytest.raises(ValueError, match="mesh"):
        backend.track(portrait, bare)


@pytest.mark.parametrize("shape", [(1, 1), (2, 700), (700, 2), (90, 90)])
@pytest.mark.parametrize("level", [0, 255])
def test_flat_pictures_of_any_size_have_no_face(detect, shape, level):
    assert detect(np.full((*shape, 3), level, np.uint8)) == []


def test_the_same_picture_gives_the_same_numbers(weights, portrait, face):
    (again,) = observe_all(portrait, BlazeFace(*weights), MediapipeLandmarks(*weights))
    np.testing.assert_array_equal(again.mesh_px, face.mesh_px)


def test_identity_needs_no_weights():
    identity = MediapipeLandmarks(Path("nowhere"), "abc").identity()
    assert identity == {"backend": "mediapipe", "version": "1", "weights_sha256": "abc"}
    identity = BlazeFace(Path("nowhere"), "abc").identity()
    assert identity == {"detector": "blazeface", "version": "1", "weights_sha256": "abc"}


def test_other_weights_are_refused(tmp_path, portrait, face):
    file = tmp_path / "other.task"
    file.write_bytes(b"something else")
    with pytest.raises(ValueError, match="sha256"):
        BlazeFace(file, "abc").find(portrait)
    with pytest.raises(ValueError, match="sha256"):
        MediapipeLandmarks(file, "abc").track(portrait, face)
