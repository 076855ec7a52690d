"""Rays must agree with the projection that makes the labels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.geometry.camera import WORLD_PER_DM, label_eg3d_orig, label_exact, project_label
from model.rendering.rays import box_range, camera_rays

ANGLE = st.floats(-0.8, 0.8)
SIDE = 4


def label(angles, translation, offset_px=(0.0, 0.0)):
    return label_exact(
        np.array([angles]),
        np.array([translation]),
        origin_px=np.array([[300.0, 200.0]]),
        scale_px=np.array([80.0]),
        box_centre_px=np.array([[300.0, 200.0]]) + offset_px,
        box_side_px=np.array([190.0]),
    )


@settings(max_examples=30, deadline=None)
@given(
    angles=st.tuples(ANGLE, ANGLE, ANGLE),
    translation=st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(-2, 2)),
    offset=st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
    depth=st.floats(0.5, 5),
)
def test_points_on_a_ray_project_to_its_pixel(angles, translation, offset, depth):
    camera = label(angles, translation, offset)
    origins, directions = camera_rays(torch.from_numpy(camera), SIDE)
    points_dm = (origins + depth * directions).numpy() / WORLD_PER_DM
    seen = project_label(points_dm, camera)[0].reshape(SIDE, SIDE, 2)
    centres = (np.arange(SIDE) + 0.5) / SIDE
    np.testing.assert_allclose(seen[..., 0], np.broadcast_to(centres, (SIDE, SIDE)), atol=1e-9)
    np.testing.assert_allclose(
        seen[..., 1], np.broadcast_to(centres[:, None], (SIDE, SIDE)), atol=1e-9
    )


def test_frontal_camera_looks_down_the_z_axis_from_in_front():
    # EG3D's offsets lift the eye a little; a face at their opposite stands straight ahead.
    camera = label_eg3d_orig(np.zeros((1, 3)), np.array([[0.0, 0.006 / 0.27, 0.0]]))
    origins, directions = camera_rays(torch.from_numpy(camera), 2)
    torch.testing.assert_close(origins[0, 0], torch.tensor([0, 0, 2.7], dtype=torch.float64))
    # Rows of pixels run downwards, columns to the right: +x right, +y up.
    top_left, _, _, bottom_right = directions[0]
    assert top_left[0] < 0 < top_left[1]
    assert bottom_right[1] < 0 < bottom_right[0]
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(1, 4, dtype=torch.float64))
    mean = directions.mean(dim=1)[0]
    torch.testing.assert_close(mean / mean.norm(), torch.tensor([0.0, 0, -1]).double())


def test_a_label_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"\[B, 25\], not \[2, 16\]"):
        camera_rays(torch.zeros(2, 16), 4)


@settings(max_examples=50, deadline=None)
@given(
    origin=st.tuples(*[st.floats(-3, 3)] * 3),
    toward=st.tuples(*[st.floats(-0.45, 0.45)] * 3),
)
def test_rays_through_the_box_enter_and_leave_on_its_surface(origin, toward):
    start = torch.tensor(origin, dtype=torch.float64)
    if start.abs().max() < 0.6:
        start = start + 1.5
    direction = torch.tensor(toward, dtype=torch.float64) - start
    direction = direction / direction.norm()
    near, far = box_range(start.view(1, 1, 3), direction.view(1, 1, 3), 1.0)
    assert far > near
    for distance in (near, far):
        surface = (start + distance.item() * direction).abs().max()
        assert surface.item() == pytest.approx(0.5, abs=1e-6)


def test_rays_beside_the_box_gather_nothing_and_one_inside_starts_at_its_eye():
    origins = torch.tensor([[[0.0, 2.0, 2.7], [0.1, 0.0, 0.0]]])
    directions = torch.tensor([[[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]]])
    near, far = box_range(origins, directions, 1.0)
    assert near[0, 0] == far[0, 0] == pytest.approx(2.7)
    assert near[0, 1] == 0
    assert far[0, 1] == pytest.approx(0.5)
