"""Cameras around the head: where they stand, what they look at, and how the face appears."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.geometry import camera
from model.geometry.orbit import PIVOT_EG3D, PIVOT_EXACT, orbit_label
from preprocess.face3d.mesh478 import read_mesh478

INTRINSICS = np.array([[4.2, 0, 0.48], [0, 4.2, 0.53], [0, 0, 1]])
angle = st.floats(-1.2, 1.2)


@pytest.mark.parametrize("pivot", [PIVOT_EG3D, PIVOT_EXACT], ids=str)
def test_straight_ahead_is_the_frontal_camera(pivot):
    pose, intrinsics = camera.unpack_label(orbit_label(0.0, 0.0, INTRINSICS, pivot))
    np.testing.assert_array_equal(pose[:3, :3], np.diag([1, -1, -1]))
    np.testing.assert_allclose(pose[:, 3], [0, 0, 2.7, 1], atol=1e-15)
    np.testing.assert_array_equal(intrinsics, INTRINSICS)


@given(yaw=angle, pitch=angle)
def test_every_camera_looks_at_the_pivot_from_its_sphere_without_roll(yaw, pitch):
    label = orbit_label(yaw, pitch, INTRINSICS, PIVOT_EG3D)
    pose, _ = camera.unpack_label(label)
    assert np.linalg.norm(pose[:3, 3]) == pytest.approx(camera.EG3D_RADIUS)
    np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
    seen = camera.project_label(PIVOT_EG3D[None] / camera.WORLD_PER_DM, label)
    np.testing.assert_allclose(seen, [[0.48, 0.53]], atol=1e-9)
    assert pose[1, 0] == pytest.approx(0, abs=1e-12)  # the image's x axis is level


@pytest.mark.parametrize(("yaw", "pitch"), [(0.4, 0.0), (-0.4, 0.0), (0.0, 0.3), (0.0, -0.3)])
def test_the_face_appears_turned_as_the_angles_say(yaw, pitch):
    """The camera stands where that of a head turned so stands in the head's own frame."""
    pose, _ = camera.unpack_label(orbit_label(yaw, pitch, INTRINSICS, PIVOT_EXACT))
    turned = camera.label_exact(
        np.array([pitch, yaw, 0.0]),
        np.zeros(3),
        origin_px=np.zeros(2),
        scale_px=np.array(100.0),
        box_centre_px=np.zeros(2),
        box_side_px=np.array(220.0),
    )
    np.testing.assert_allclose(pose[:3, 3], camera.unpack_label(turned)[0][:3, 3], atol=1e-12)


def test_labels_of_many_angles_are_those_of_each():
    yaw, pitch = np.meshgrid([-0.4, 0, 0.4], [-0.2, 0.2])
    labels = orbit_label(yaw, pitch, INTRINSICS, PIVOT_EXACT)
    assert labels.shape == (2, 3, 25)
    np.testing.assert_array_equal(labels[1, 2], orbit_label(0.4, 0.2, INTRINSICS, PIVOT_EXACT))


def test_the_face_stays_in_the_middle_of_the_image():
    """With exact labels; the face model's own mean face, from the sides."""
    face_V3 = read_mesh478().face.mean_V3
    for yaw in np.deg2rad([-25, 0, 25]):
        seen = camera.project_label(face_V3, orbit_label(yaw, 0.0, INTRINSICS, PIVOT_EXACT))
        assert seen[:, 0].mean() == pytest.approx(0.48, abs=0.02)
        assert 0.1 < seen[:, 0].min() < seen[:, 0].max() < 0.9


def test_positive_yaw_shows_the_face_turned_to_image_right():
    """The nose points to the right of what lies behind it, and down when it is pitched."""
    face_V3 = read_mesh478().face.mean_V3
    nose, behind = face_V3[[1]], face_V3[[1]] - [0, 0, 0.5]

    def lead(yaw, pitch):
        label = orbit_label(yaw, pitch, INTRINSICS, PIVOT_EXACT)
        return (camera.project_label(nose, label) - camera.project_label(behind, label))[0]

    assert lead(0.3, 0.0)[0] > lead(0.0, 0.0)[0] > lead(-0.3, 0.0)[0]
    assert lead(0.0, 0.3)[1] > lead(0.0, 0.0)[1] > lead(0.0, -0.3)[1]
