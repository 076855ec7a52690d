from pathlib import Path

import cv2
import made_networks
import numpy as np
import pytest
from insightface.utils.face_align import arcface_dst
from made_networks import digest_of

from preprocess.crop import transform, warp
from preprocess.people.alignment import similarity
from preprocess.people.embedding import FaceEmbedder, _template

TEMPLATE = arcface_dst.astype(float) + 0.5  # in our coordinates: corners of pixels, not centres
ASTRONAUT = np.array([[203.0, 101], [247, 103], [224, 129], [203, 140], [246, 140]])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Embedding of the red, green and blue of six pixels of the aligned face."""
    file = made_networks.write_arcface(tmp_path_factory.mktemp("made") / "arcface.onnx")
    return FaceEmbedder(file, digest_of(file))


@pytest.fixture(scope="module")
def embedder(asset_file):
    file = asset_file("mobilefacenet_128.onnx")
    return FaceEmbedder(file, digest_of(file))


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)


def _six_pixels(aligned):
    """What the made network answers to an aligned picture."""
    seen = aligned[30:91:30, 40:51:10].astype(np.float64).transpose(2, 0, 1).ravel() / 127.5 - 1
    return seen / np.linalg.norm(seen)


def test_a_face_that_is_aligned_already_is_seen_as_it_is(made, noise):
    embedding = made.embed(noise, TEMPLATE)
    np.testing.assert_allclose(embedding, _six_pixels(noise), atol=1e-6)
    assert embedding.dtype == np.float32
    assert np.linalg.norm(embedding) == pytest.approx(1)


def test_a_larger_face_gives_the_same_pixels(made, noise):
    """Each pixel twice as wide and high: only right if coordinates count from corners."""
    twice = noise.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_allclose(made.embed(twice, 2 * TEMPLATE), _six_pixels(noise), atol=1e-6)


def test_a_face_elsewhere_gives_the_same_pixels(made, noise):
    wider = np.zeros((150, 170, 3), np.uint8)
    wider[21:133, 37:149] = noise
    np.testing.assert_allclose(
        made.embed(wider, TEMPLATE + np.array([37, 21])), _six_pixels(noise), atol=1e-6
    )


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("side_px", [112, 128, 256])
def test_alignment_agrees_with_the_package(side_px):
    """Its pixels are counted from their centres: half a pixel less on both sides."""
    from insightface.utils.face_align import estimate_norm

    points = 2.7 * TEMPLATE[:, ::-1] + [40, 7]
    theirs = estimate_norm(points - 0.5, side_px)
    probe = np.array([[10.0, 20], [200, 90]])
    ours = transform(similarity(points, _template(side_px)), probe)
    np.testing.assert_allclose(
        ours - 0.5, (probe - 0.5) @ theirs[:, :2].T + theirs[:, 2], atol=1e-3
    )


def test_the_picture_may_turn_shrink_and_move(embedder, astronaut):
    known = embedder.embed(astronaut, ASTRONAUT)
    turn = np.deg2rad(25)
    place = np.array(
        [[np.cos(turn), -np.sin(turn), 60], [np.sin(turn), np.cos(turn), 9], [0, 0, 1]]
    )
    place[:2] *= 0.8
    moved = embedder.embed(warp(astronaut, place, 400, 400), transform(place, ASTRONAUT))
    assert known @ moved > 0.95


def test_colours_are_not_swapped(embedder, astronaut):
    """The network was trained on RGB; it must not see what it sees of a blue face."""
    known = embedder.embed(astronaut, ASTRONAUT)
    bgr = np.ascontiguousarray(astronaut[..., ::-1])
    place = similarity(ASTRONAUT - 0.5, _template(112))[:2]
    face = cv2.warpAffine(bgr, place - [[0, 0, 0.5]] * 2, (112, 112))
    theirs = embedder._network.get_feat(face)[0]
    assert known @ theirs / np.linalg.norm(theirs) > 0.98
    assert known @ embedder.embed(bgr, ASTRONAUT) < 0.98


def test_persons_are_told_apart(embedder, shared_data):
    """One person in four moods, and another."""
    pytest.importorskip("ai_edge_litert")
    from preprocess.landmarks.backend import observe_all
    from preprocess.landmarks.blazeface import BlazeFace
    from preprocess.landmarks.mediapipe import MediapipeLandmarks
    from storage import assets

    task = assets.fetch("face_landmarker")
    detector, backend = (kind(task, digest_of(task)) for kind in (BlazeFace, MediapipeLandmarks))

    def embedding_of(clip):
        film = cv2.VideoCapture(str(shared_data / "videos" / f"dreamtalk_MEAD_{clip}.mp4"))
        film.set(cv2.CAP_PROP_POS_FRAMES, 30)
        there, bgr = film.read()
        assert there
        rgb = bgr[..., ::-1].copy()
        return embedder.embed(rgb, observe_all(rgb, detector, backend)[0].points5_px)

    moods = ("angry_level3", "happy_level3", "neutral_level1", "surprised_level3")
    man, woman = ([embedding_of(f"{who}_{mood}") for mood in moods] for who in ("M030", "W009"))
    alike = [a @ b for person in (man, woman) for a in person for b in person]
    different = [a @ b for a in man for b in woman]
    assert min(alike) > 0.4 > max(different) + 0.1


def test_the_same_picture_gives_the_same_numbers(embedder, asset_file, astronaut):
    file = asset_file("mobilefacenet_128.onnx")
    first = embedder.embed(astronaut, ASTRONAUT)
    again = FaceEmbedder(file, digest_of(file)).embed(astronaut, ASTRONAUT)
    np.testing.assert_array_equal(first, again)
    assert first.shape == (128,)


def test_a_face_at_the_border_or_outside_is_no_error(embedder, astronaut):
    for shift in (-200, 300, 5000):
        assert np.linalg.norm(embedder.embed(astronaut, ASTRONAUT + shift)) == pytest.approx(1)


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), np.nan), ASTRONAUT * np.inf])
def test_points_that_are_no_face_are_refused(made, noise, points):
    with pytest.raises(ValueError, match="the points"):
        made.embed(noise, points)


def test_identity_needs_no_weights():
    assert FaceEmbedder(Path("nowhere"), "abc").identity() == {
        "embedder": "arcface",
        "version": "1",
        "weights_sha256": "abc",
    }


def test_other_files_are_refused(tmp_path, noise):
    file = tmp_path / "other.onnx"
    file.write_bytes(b"something else")
    with pytest.raises(ValueError, match="sha256"):
        FaceEmbedder(file, "abc").embed(noise, TEMPLATE)
    with pytest.raises(ValueError, match="no ONNX network"):
        FaceEmbedder(file, digest_of(file)).embed(noise, TEMPLATE)


@pytest.mark.parametrize("kind", [{"side_px": 100}, {"outputs": 2}])
def test_other_networks_are_refused(tmp_path, noise, kind):
    file = made_networks.write_arcface(tmp_path / "other.onnx", **kind)
    with pytest.raises(ValueError, match="no ArcFace network"):
        FaceEmbedder(file, digest_of(file)).embed(noise, TEMPLATE)


def test_a_larger_input_is_served(tmp_path, noise):
    file = made_networks.write_arcface(tmp_path / "large.onnx", side_px=224)
    assert FaceEmbedder(file, digest_of(file)).embed(noise, TEMPLATE).shape == (18,)
