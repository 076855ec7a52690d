"""Scores of photographed faces: a film with hands, one without, and a portrait under a bar."""

import hashlib
from itertools import islice

import cv2
import numpy as np
import pytest

from preprocess.crop import (
    Align,
    align_points,
    crop_affines,
    crop_boxes,
    transform,
    warp_crop,
)
from preprocess.landmarks.backend import observe_all
from preprocess.landmarks.blazeface import BlazeFace
from preprocess.landmarks.mediapipe import MediapipeLandmarks
from preprocess.landmarks.mesh_points import eye_distance
from preprocess.media.decode import decode_film
from preprocess.quality.occlusion import occlusion, sample_clip
from preprocess.quality.scores import FrameScores, QualityConfig, frame_reasons
from preprocess.quality.sharpness import face_sharpness


@pytest.fixture(scope="module")
def networks(landmarker_task):
    weights = landmarker_task, hashlib.sha256(landmarker_task.read_bytes()).hexdigest()
    detector, landmarks = BlazeFace(*weights), MediapipeLandmarks(*weights)
    yield detector, landmarks
    detector.close()
    landmarks.close()


def _crops(frames, networks):
    """Crops, meshes in their px, presence; all frames must have a face."""
    detector, landmarks = networks
    faces = []
    for rgb in frames:
        found = landmarks.track(rgb, faces[-1]) if faces else None
        faces.append(found or observe_all(rgb, detector, landmarks)[0])
    alignment = align_points(np.stack([face.points5_px for face in faces]))
    affines = crop_affines(crop_boxes(alignment.origin_T2, alignment.scale_T, Align.PER_FRAME), 256)
    meshes = np.stack([face.mesh_px for face in faces])
    meshes[..., :2] = transform(affines, meshes[..., :2])
    meshes[..., 2] *= affines[:, :1, 0]
    crops = [warp_crop(rgb, to_crop, 256) for rgb, to_crop in zip(frames, affines, strict=True)]
    return np.stack(crops), meshes, np.array([face.score for face in faces])


def _reasons(crops, meshes, presence, texels):
    covered = occlusion(sample_clip(crops, meshes, texels), presence, texels)
    sharp = [
        face_sharpness(crop, np.r_[low, high], float(eye_distance(mesh[:, :2])))
        for crop, mesh, low, high in zip(
            crops, meshes, meshes[..., :2].min(axis=1), meshes[..., :2].max(axis=1), strict=True
        )
    ]
    nothing = np.zeros(len(crops))
    scores = FrameScores(np.array(sharp), covered, nothing, nothing)
    return np.array(frame_reasons(scores, QualityConfig()))


def test_a_film_without_hands_is_kept_until_it_is_blurred(face_film, networks, texels):
    frames = [frame.rgb for frame in decode_film(face_film)]
    crops, meshes, presence = _crops(frames, networks)
    assert set(_reasons(crops, meshes, presence, texels)) == {""}
    blurred = np.stack([cv2.GaussianBlur(crop, (0, 0), 3) for crop in crops])
    assert set(_reasons(blurred, meshes, presence, texels)) == {"blurry"}


def test_hands_over_the_face_are_found(pexels_film, networks, texels):
    """Hands from frame 58 to 229, as seen by eye; arriving and leaving may be a few frames off."""
    frames = [frame.rgb for frame in islice(decode_film(pexels_film), 470)]
    crops, meshes, presence = _crops(frames, networks)
    occluded = _reasons(crops, meshes, presence, texels) == "occluded"
    hands = np.zeros(len(frames), bool)
    hands[58:230] = True
    assert occluded[hands].mean() > 0.85
    assert hands[occluded].mean() > 0.95


def test_a_bar_over_a_portrait_is_found(portrait_png, networks, texels):
    picture = cv2.imread(str(portrait_png))[..., ::-1].copy()
    shifts = [(round(3 * np.sin(t / 3)), round(2 * np.cos(t / 4))) for t in range(40)]
    moved = [np.roll(picture, shift, axis=(0, 1)) for shift in shifts]
    crops, meshes, presence = _crops(moved, networks)
    assert set(_reasons(crops, meshes, presence, texels)) == {""}
    for crop, mesh in zip(crops[14:26], meshes[14:26], strict=True):
        x, y = mesh[1, :2].astype(int).tolist()
        cv2.line(crop, (x + 8, y), (x + 20, 256), (35, 35, 38), 18)
    occluded = _reasons(crops, meshes, presence, texels) == "occluded"
    assert occluded[14:26].all()
    assert not occluded[:8].any()
    assert not occluded[32:].any()
