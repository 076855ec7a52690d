"""From a real film to camera labels: the parts fit together. Neither face was learned from."""

import hashlib
from itertools import islice, repeat

import numpy as np
import pytest

from model.geometry.camera import project_label
from preprocess.crop import (
    Align,
    CropConfig,
    align_points,
    crop_affines,
    crop_boxes,
    crop_centres,
    transform,
    warp_crop,
)
from preprocess.face3d.cameras import CameraMode, camera_labels
from preprocess.face3d.mesh478 import fit_clip
from preprocess.landmarks.blazeface import BlazeFace
from preprocess.landmarks.mediapipe import MediapipeLandmarks
from preprocess.media.decode import decode_film
from preprocess.people.follow import FollowConfig, Follower
from preprocess.people.spans import SpanConfig, cut_spans


@pytest.fixture(scope="module")
def follow(landmarker_task):
    weights = landmarker_task, hashlib.sha256(landmarker_task.read_bytes()).hexdigest()
    networks = [BlazeFace(*weights)], MediapipeLandmarks(*weights), None

    def ticks(frames):
        return Follower(*networks, FollowConfig()).follow(frames, repeat(0))

    return ticks


@pytest.fixture(scope="module")
def frames(face_film):
    return [frame.rgb for frame in decode_film(face_film)]


@pytest.fixture(scope="module")
def span(frames, follow):
    (only,) = cut_spans(follow(frames), SpanConfig())
    return only


@pytest.fixture(scope="module")
def fitted(model, span):
    points = np.stack([face.points5_px for _, face in span.faces])
    meshes = np.stack([face.mesh_px for _, face in span.faces])
    ticks = np.array([tick for tick, _ in span.faces])
    alignment = align_points(points)
    centres = crop_centres(alignment, points, ticks, CropConfig())
    boxes = crop_boxes(centres, alignment.scale_T, Align.PER_FRAME)
    return points, meshes, alignment, boxes, fit_clip(model, meshes, alignment)


def test_the_whole_film_is_one_span(span):
    assert (span.first_tick, span.last_tick, span.is_ok) == (0, 71, True)
    assert len(span.faces) == 72


def test_the_nose_is_at_the_middle_of_the_crop(fitted):
    points, _, _, boxes, _ = fitted
    nose = transform(crop_affines(boxes, 256), points)[:, 2]
    assert np.abs(nose - 128).max() < 3
    assert np.abs(nose - 128).mean() < 0.7


def test_about_the_origin_the_nose_lies_as_the_alignment_says(fitted):
    """Spec 2.2.2: 5 px below the centre when frontal, lower as the head is pitched down."""
    points, _, alignment, _, fit = fitted
    boxes = crop_boxes(alignment.origin_T2, alignment.scale_T, Align.PER_FRAME)
    nose = transform(crop_affines(boxes, 256), points)[:, 2] - 128
    assert np.abs(nose[:, 0]).max() < 8
    pitched = 5 + 0.552 * 110 * np.sin(fit.angles_T3[:, 0])
    assert np.abs(nose[:, 1] - pitched).mean() < 8


def test_the_exact_camera_lays_the_model_over_the_face(model, fitted):
    _, meshes, alignment, boxes, fit = fitted
    labels = camera_labels(fit, alignment, boxes, CameraMode.EXACT)
    shapes = model.shape(fit.identity_I, fit.expression_TE, fit.angles_T3)
    shown = 256 * project_label(shapes, labels)
    seen = transform(crop_affines(boxes, 256), meshes[..., :2])
    assert np.linalg.norm(shown - seen, axis=-1).max() < 3
    assert fit.reprojection_iod_T.mean() < 0.005


def test_the_pose_is_steady_and_plausible(fitted):
    fit = fitted[-1]
    assert np.abs(fit.angles_T3).max() < np.deg2rad(20)
    assert np.abs(np.diff(fit.angles_T3, axis=0)).max() < np.deg2rad(3)
    assert np.abs(fit.translation_T3).max() < 0.6
    assert np.sqrt((fit.expression_TE**2).mean()) < 2.5
    assert np.sqrt((fit.identity_I**2).mean()) < 2.5


def test_the_crop_shows_skin_under_the_68_points(frames, span, fitted):
    boxes = fitted[3]
    affine = crop_affines(boxes, 256)[0]
    crop = warp_crop(frames[0], affine, 256).astype(int)
    points = transform(affine, span.faces[0][1].landmarks68_px).astype(int)
    red, green, blue = crop[points[27:36, 1], points[27:36, 0]].T
    assert (red > green).all()
    assert (red > blue).all()


def test_landscape_has_no_face(no_face_film, follow):
    some = islice((frame.rgb for frame in decode_film(no_face_film)), 6)
    assert {tick.outcome for tick in follow(some)} == {"no_face"}
