import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.geometry import camera

FRONTAL = np.zeros(3)


def _face_points(rng, count=40):
    return rng.uniform([-0.8, -0.9, -0.5], [0.8, 0.8, 0.6], (count, 3))


def _a_case(seed, frames=1):
    rng = np.random.default_rng(seed)
    return {
        "points": np.stack([_face_points(rng) for _ in range(frames)]),
        "angles": rng.uniform(-0.9, 0.9, (frames, 3)),
        "translation": rng.uniform(-0.5, 0.5, (frames, 3)),
        "origin_px": rng.uniform(-200, 2000, (frames, 2)),
        "scale_px": rng.uniform(10, 900, frames),
        "box_centre_px": rng.uniform(-200, 2000, (frames, 2)),
        "box_side_px": rng.uniform(20, 2000, frames),
    }


@given(seed=st.integers(0, 2**32 - 1))
def test_exact_label_projects_as_the_extractor_for_any_crop(seed):
    case = _a_case(seed, frames=3)
    points, angles, translation = case.pop("points"), case.pop("angles"), case.pop("translation")
    film_px = camera.project_film(points, angles, translation, case["origin_px"], case["scale_px"])
    low = case["box_centre_px"] - case["box_side_px"][:, None] / 2
    expected = (film_px - low[:, None]) / case["box_side_px"][:, None, None]
    label = camera.label_exact(angles, translation, **case)
    np.testing.assert_allclose(camera.project_label(points, label), expected, atol=1e-9)


def test_extractor_projection_is_the_published_formula():
    rng = np.random.default_rng(3)
    points, angles, translation = _face_points(rng), rng.uniform(-1, 1, 3), rng.uniform(-1, 1, 3)
    ax, ay, az = angles
    rx = [[1, 0, 0], [0, np.cos(ax), -np.sin(ax)], [0, np.sin(ax), np.cos(ax)]]
    ry = [[np.cos(ay), 0, np.sin(ay)], [0, 1, 0], [-np.sin(ay), 0, np.cos(ay)]]
    rz = [[np.cos(az), -np.sin(az), 0], [np.sin(az), np.cos(az), 0], [0, 0, 1]]
    moved = (np.array(rz) @ ry @ rx @ points.T).T + translation
    u = 1015 * moved[:, 0] / (10 - moved[:, 2]) + 112
    v_up = 1015 * moved[:, 1] / (10 - moved[:, 2]) + 112
    got = camera.project_extractor(points, angles, translation)
    np.testing.assert_allclose(got, np.c_[u - 112, 112 - v_up], atol=1e-9)


def test_eg3d_crop_has_the_constant_intrinsics():
    scale_px = np.array([37.0, 110.0])
    origin_px = np.array([[100.0, 50.0], [300.0, 900.0]])
    label = camera.label_exact(
        np.zeros((2, 3)),
        np.zeros((2, 3)),
        origin_px=origin_px,
        scale_px=scale_px,
        box_centre_px=origin_px,
        box_side_px=700 / 300 * scale_px,
    )
    _, intrinsics = camera.unpack_label(label)
    expected = [[4.2647, 0, 0.5], [0, 4.2647, 0.5], [0, 0, 1]]
    np.testing.assert_allclose(intrinsics, [expected, expected], atol=1e-5)


@pytest.mark.parametrize("make", ["exact", "eg3d_orig"])
def test_frontal_face_is_seen_from_the_front(make):
    if make == "exact":
        label = camera.label_exact(
            FRONTAL,
            FRONTAL,
            origin_px=np.zeros(2),
            scale_px=np.array(102.0),
            box_centre_px=np.zeros(2),
            box_side_px=np.array(238.0),
        )
    else:
        label = camera.label_eg3d_orig(FRONTAL, FRONTAL)
    assert label.shape == (25,)
    pose, intrinsics = camera.unpack_label(label)
    np.testing.assert_allclose(pose[:3, :3], np.diag([1, -1, -1]), atol=1e-12)
    np.testing.assert_allclose(pose[3], [0, 0, 0, 1])
    np.testing.assert_allclose(np.linalg.norm(pose[:3, 3]), 2.7)
    np.testing.assert_allclose(pose[:3, 3], [0, 0, 2.7], atol=0 if make == "exact" else 0.006)
    np.testing.assert_allclose(intrinsics[0, 0], 4.2647, atol=1e-5)


def test_eg3d_orig_keeps_radius_and_direction():
    """Spec 2.2.3: offsets are added at full distance, then the radius becomes 2.7."""
    angles, translation = np.array([0.2, -0.4, 0.1]), np.array([0.1, -0.2, 0.5])
    turn = camera.rotation(angles)
    centre = 0.27 * turn.T @ (np.array([0, 0, 10]) - translation) + [0, 0.006, 0.161]
    pose, _ = camera.unpack_label(camera.label_eg3d_orig(angles, translation))
    np.testing.assert_allclose(pose[:3, 3], 2.7 * centre / np.linalg.norm(centre))
    np.testing.assert_allclose(pose[:3, :3], turn.T @ np.diag([1, -1, -1]))


@pytest.mark.parametrize(
    ("angle", "axis", "sign"),
    [(0, 1, 1), (1, 0, 1)],
    ids=["pitch turns the nose down", "yaw turns it to image right"],
)
def test_signs_of_the_angles(angle, axis, sign):
    angles = np.zeros(3)
    angles[angle] = 0.2
    nose = camera.project_extractor(np.array([[0, 0, 0.55]]), angles, np.zeros(3))
    assert sign * nose[0, axis] > 5
    assert abs(nose[0, 1 - axis]) < 1e-9


def test_positive_roll_turns_counter_clockwise():
    forehead = camera.project_extractor(np.array([[0, 0.5, 0]]), np.array([0, 0, 0.2]), np.zeros(3))
    assert forehead[0, 0] < -5


@given(seed=st.integers(0, 2**32 - 1))
def test_angles_come_back_from_the_rotation(seed):
    angles = np.random.default_rng(seed).uniform(-1.5, 1.5, (4, 3))
    np.testing.assert_allclose(camera.angles_of(camera.rotation(angles)), angles, atol=1e-9)


@given(seed=st.integers(0, 2**32 - 1))
def test_mirrored_label_sees_the_mirrored_face_mirrored(seed):
    case = _a_case(seed)
    points = case.pop("points")
    label = camera.label_exact(case.pop("angles"), case.pop("translation"), **case)
    straight = camera.project_label(points, label)
    mirrored = camera.project_label(points * [-1, 1, 1], camera.mirror_label(label))
    np.testing.assert_allclose(mirrored, [1, 0] + straight * [-1, 1], atol=1e-9)
    np.testing.assert_allclose(camera.mirror_label(camera.mirror_label(label)), label, atol=1e-12)


def test_labels_pack_and_unpack():
    label = np.random.default_rng(0).normal(size=(5, 2, 25))
    pose, intrinsics = camera.unpack_label(label)
    assert pose.shape == (5, 2, 4, 4)
    assert pose[0, 0, 0, 3] == label[0, 0, 3]
    assert intrinsics[0, 0, 0, 2] == label[0, 0, 18]
    np.testing.assert_array_equal(camera.pack_label(pose, intrinsics), label)
