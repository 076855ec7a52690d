"""The Basel face's forward model, against closed forms and against the camera of `camera`."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import sph_harm_y

from model.geometry import bfm, camera
from model.rendering.rays import camera_rays

FLOAT = torch.float64


def made_face(vertices=30, triangles=50, seed=0):
    """A face with random bases, in double precision."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape, scale=1.0):
        return scale * torch.randn(shape, generator=generator, dtype=FLOAT)

    def index(*shape):
        return torch.randint(vertices, shape, generator=generator)

    return bfm.BfmFace(
        mean_V3=normal(vertices, 3, scale=0.4),
        identity_IV3=normal(80, vertices, 3, scale=0.02),
        expression_EV3=normal(64, vertices, 3, scale=0.02),
        albedo_V3=0.5 + normal(vertices, 3, scale=0.05),
        texture_XV3=normal(80, vertices, 3, scale=0.01),
        triangles_F3=index(triangles, 3),
        landmarks_L=index(68),
    )


def made_coefficients(seed=0, faces=3):
    """Faces as the extractor finds them: turned by up to half a radian, near the origin."""
    rng = np.random.default_rng(seed)
    coefficients = rng.normal(size=(faces, 257))
    coefficients[:, 224:227] = rng.uniform(-0.5, 0.5, (faces, 3))
    coefficients[:, 254:] = rng.normal(0, 0.2, (faces, 3))
    return torch.from_numpy(coefficients)


def sphere(rows=24, columns=48):
    """A unit sphere of latitudes and longitudes, its triangles counter-clockwise from outside."""
    polar, turn = np.meshgrid(
        np.linspace(0, np.pi, rows), np.arange(columns) * 2 * np.pi / columns, indexing="ij"
    )
    points = np.stack(
        [np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)], axis=-1
    )
    triangles = []
    for row in range(rows - 1):
        for column in range(columns):
            beside = (column + 1) % columns
            a, b = row * columns + column, row * columns + beside
            c, d = a + columns, b + columns
            triangles += [[a, c, d]] * (row < rows - 2) + [[a, d, b]] * (row > 0)
    return torch.from_numpy(points.reshape(-1, 3)), torch.tensor(triangles)


def sphere_face():
    points, triangles = sphere()
    return bfm.BfmFace(
        mean_V3=points,
        identity_IV3=torch.zeros(80, *points.shape, dtype=FLOAT),
        expression_EV3=torch.zeros(64, *points.shape, dtype=FLOAT),
        albedo_V3=torch.ones_like(points),
        texture_XV3=torch.zeros(80, *points.shape, dtype=FLOAT),
        triangles_F3=triangles,
        landmarks_L=torch.zeros(68, dtype=torch.int64),
    )


# groups


def test_the_groups_lie_where_the_network_puts_them():
    """Spec 2.2.1: id [0:80], exp [80:144], tex [144:224], angles, gamma [227:254], trans."""
    groups = bfm.split(torch.arange(257.0)[None])
    first_and_last = [(int(group[0, 0]), int(group[0, -1])) for group in groups]
    assert first_and_last == [(0, 79), (80, 143), (144, 223), (224, 226), (227, 253), (254, 256)]
    assert bfm.WIDTHS == ("bfm", 80, 64, 80, 27)
    with pytest.raises(ValueError, match="256 coefficients"):
        bfm.split(torch.zeros(1, 256))


# shape and albedo


def test_shape_and_albedo_are_linear_in_their_own_group():
    face, coefficients = made_face(), made_coefficients()
    groups = bfm.split(coefficients)
    shape = face.shape(groups.identity_BI, groups.expression_BE).numpy()
    albedo = face.albedo(groups.texture_BX).numpy()
    for person in range(3):
        for vertex in (0, 17, 29):
            point, colour = face.mean_V3[vertex].clone(), face.albedo_V3[vertex].clone()
            for direction in range(80):
                point += (
                    groups.identity_BI[person, direction] * face.identity_IV3[direction, vertex]
                )
                colour += groups.texture_BX[person, direction] * face.texture_XV3[direction, vertex]
            for direction in range(64):
                weight = groups.expression_BE[person, direction]
                point += weight * face.expression_EV3[direction, vertex]
            np.testing.assert_allclose(shape[person, vertex], point, atol=1e-12)
            np.testing.assert_allclose(albedo[person, vertex], colour, atol=1e-12)


def test_the_model_stays_out_of_checkpoints():
    face = made_face()
    assert face.state_dict() == {}
    assert face.float().mean_V3.dtype == torch.float32


# normals


def test_normals_of_a_sphere_point_outward_along_its_radii():
    face = sphere_face()
    normals = face.normals(face.mean_V3[None])[0]
    off = torch.rad2deg(torch.acos((normals * face.mean_V3).sum(dim=-1).clamp(-1, 1)))
    away_from_poles = face.mean_V3[:, 2].abs() < 0.99
    assert off[away_from_poles].max() < 2.5
    np.testing.assert_allclose(normals.norm(dim=-1)[away_from_poles], 1, atol=1e-12)


def test_a_corner_has_the_mean_of_its_sides_however_large_they_are():
    """Three sides of a box that meet at the origin, seen from inside the octant."""
    corner = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 5], [9, 9, 9]], dtype=FLOAT)
    face = made_face(vertices=5)
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3], [0, 3, 1]])
    face.triangles_F3, face.around_VK = triangles, bfm.triangles_around(triangles, 5)
    normals = face.normals(corner[None])[0]
    np.testing.assert_allclose(normals[0], np.full(3, 3**-0.5), atol=1e-12)
    np.testing.assert_allclose(normals[1], [0, 2**-0.5, 2**-0.5], atol=1e-12)
    np.testing.assert_allclose(normals[4], 0)


@given(seed=st.integers(0, 2**31), vertices=st.integers(1, 12), triangles=st.integers(1, 30))
def test_triangles_about_each_vertex_are_all_found(seed, vertices, triangles):
    corners = torch.randint(vertices, (triangles, 3), generator=torch.Generator().manual_seed(seed))
    around = bfm.triangles_around(corners, vertices)
    for vertex in range(vertices):
        expected = [t for t in range(triangles) for corner in corners[t] if corner == vertex]
        found = [t for t in around[vertex].tolist() if t < triangles]
        assert found == expected


# light


def test_bands_are_the_real_spherical_harmonics():
    """Degree by degree times the published strengths, with the phase of Condon and Shortley."""
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(50, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    polar, turn = np.arccos(normals[:, 2]), np.arctan2(normals[:, 1], normals[:, 0])
    strength = [np.pi, 2 * np.pi / np.sqrt(3), 2 * np.pi / np.sqrt(8)]
    expected = []
    for degree in range(3):
        for order in range(-degree, degree + 1):
            wave = sph_harm_y(degree, abs(order), polar, turn)
            part = wave.real if order >= 0 else wave.imag
            expected.append(strength[degree] * part * (np.sqrt(2) if order else 1))
    found = bfm.bands(torch.from_numpy(normals)[None])[0]
    np.testing.assert_allclose(found, np.stack(expected, axis=-1), atol=1e-12)


def test_no_light_coefficients_mean_even_grey_light():
    normals = torch.nn.functional.normalize(torch.randn(1, 9, 3, dtype=FLOAT), dim=-1)
    lit = bfm.light(normals, torch.zeros(1, 27, dtype=FLOAT))
    np.testing.assert_allclose(lit, 0.8 * math.pi / math.sqrt(4 * math.pi), atol=1e-12)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_each_nine_coefficients_light_one_colour(channel):
    normals = torch.nn.functional.normalize(torch.randn(1, 9, 3, dtype=FLOAT), dim=-1)
    gamma = torch.zeros(1, 27, dtype=FLOAT)
    gamma[0, 9 * channel + 2] = 0.5  # the band along z
    change = bfm.light(normals, gamma) - bfm.light(normals, torch.zeros_like(gamma))
    expected = torch.zeros(9, 3, dtype=FLOAT)
    expected[:, channel] = 0.5 * 2 * math.pi / math.sqrt(4 * math.pi) * normals[0, :, 2]
    np.testing.assert_allclose(change[0], expected, atol=1e-12)


def test_light_stays_in_the_room_when_the_head_turns():
    """Light from the viewer falls on whatever side of the sphere is turned to it."""
    face = sphere_face()
    coefficients = torch.zeros(2, 257, dtype=FLOAT)
    coefficients[:, [227 + 2, 236 + 2, 245 + 2]] = 0.3
    coefficients[1, 225] = 0.7
    view = face(coefficients)
    inner = face.mean_V3[:, 2].abs() < 0.99
    toward = view.points_BV3[:, inner, 2]  # the sphere's z is its normal's
    expected = 0.8 * math.sqrt(math.pi) / 2 + 0.3 * math.sqrt(math.pi) * toward
    np.testing.assert_allclose(view.colour_BV3[:, inner, 1], expected, atol=0.03)


def test_a_white_sphere_reflects_what_falls_on_it_on_average():
    """Only the constant band survives the mean over all directions."""
    face = sphere_face()
    coefficients = torch.zeros(1, 257, dtype=FLOAT)
    coefficients[0, 227:254] = torch.linspace(-0.2, 0.2, 27, dtype=FLOAT)
    colour = face(coefficients).colour_BV3[0]
    area = torch.sin(torch.arccos(face.mean_V3[:, 2].clamp(-1, 1)))[:, None]
    mean = (area * colour).sum(dim=0) / area.sum()
    constant = coefficients[0, [227, 236, 245]] + 0.8
    np.testing.assert_allclose(mean, constant * math.sqrt(math.pi) / 2, atol=0.01)


# pose and projection


def test_rotation_is_that_of_the_cameras():
    angles = np.random.default_rng(1).uniform(-1.5, 1.5, (20, 3))
    found = bfm.rotation(torch.from_numpy(angles))
    np.testing.assert_allclose(found, camera.rotation(angles), atol=1e-14)


def test_a_view_is_the_published_formula():
    face, coefficients = made_face(), made_coefficients(faces=1)
    view = face(coefficients)
    groups = bfm.split(coefficients)
    shape = face.shape(groups.identity_BI, groups.expression_BE)[0].numpy()
    ax, ay, az = groups.angles_B3[0].numpy()
    rx = np.array([[1, 0, 0], [0, np.cos(ax), -np.sin(ax)], [0, np.sin(ax), np.cos(ax)]])
    ry = np.array([[np.cos(ay), 0, np.sin(ay)], [0, 1, 0], [-np.sin(ay), 0, np.cos(ay)]])
    rz = np.array([[np.cos(az), -np.sin(az), 0], [np.sin(az), np.cos(az), 0], [0, 0, 1]])
    moved = np.array([rz @ ry @ rx @ point for point in shape]) + groups.translation_B3[0].numpy()
    np.testing.assert_allclose(view.points_BV3[0], moved, atol=1e-12)
    right = 1015 * moved[:, 0] / (10 - moved[:, 2]) + 112
    up = 1015 * moved[:, 1] / (10 - moved[:, 2]) + 112
    np.testing.assert_allclose(view.pixels_BV2[0], np.c_[right - 112, 112 - up], atol=1e-9)
    turned = face.normals(torch.from_numpy(shape)[None])[0].numpy() @ (rz @ ry @ rx).T
    np.testing.assert_allclose(view.normals_BV3[0], turned, atol=1e-12)
    nine = bfm.bands(torch.from_numpy(turned))
    gamma = groups.gamma_BG[0].reshape(3, 9) + torch.tensor([0.8] + [0.0] * 8, dtype=FLOAT)
    colour = face.albedo(groups.texture_BX)[0] * torch.stack([nine @ row for row in gamma], dim=-1)
    np.testing.assert_allclose(view.colour_BV3[0], colour, atol=1e-12)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), eg3d=st.booleans())
def test_the_exact_label_projects_as_the_extractor(seed, eg3d):
    """Spec 11, 1: within 1e-6 of the crop's side, for EG3D's crop and for any other."""
    rng = np.random.default_rng(seed)
    face, coefficients = made_face(seed=seed % 1000), made_coefficients(seed)
    view, groups = face(coefficients), bfm.split(coefficients)
    origin_px, scale_px = rng.uniform(-200, 2000, (3, 2)), rng.uniform(10, 900, 3)
    if eg3d:
        centre_px, side_px = origin_px, 700 / 300 * scale_px
    else:
        centre_px, side_px = rng.uniform(-200, 2000, (3, 2)), rng.uniform(20, 2000, 3)
    film_px = origin_px[:, None] + view.pixels_BV2.numpy() * scale_px[:, None, None] / 102
    wanted = 0.5 + (film_px - centre_px[:, None]) / side_px[:, None, None]
    label = camera.label_exact(
        groups.angles_B3.numpy(),
        groups.translation_B3.numpy(),
        origin_px=origin_px,
        scale_px=scale_px,
        box_centre_px=centre_px,
        box_side_px=side_px,
    )
    shape = face.shape(groups.identity_BI, groups.expression_BE).numpy()
    np.testing.assert_allclose(camera.project_label(shape, label), wanted, rtol=0, atol=1e-6)


def test_a_ray_through_a_vertex_pixel_meets_the_vertex():
    """Spec 11, 2: the box is laid about one vertex at a time, so that one pixel shows it."""
    face, coefficients = made_face(), made_coefficients(faces=1).repeat(30, 1)
    view, groups = face(coefficients), bfm.split(coefficients)
    vertex = torch.arange(30)
    pixels = view.pixels_BV2[vertex, vertex].numpy()
    label = camera.label_exact(
        groups.angles_B3.numpy(),
        groups.translation_B3.numpy(),
        origin_px=np.zeros((30, 2)),
        scale_px=np.full(30, 102.0),
        box_centre_px=pixels,
        box_side_px=np.linspace(5, 400, 30),
    )
    origins, directions = camera_rays(torch.from_numpy(label), 1)
    shape = face.shape(groups.identity_BI, groups.expression_BE)[vertex, vertex]
    toward = camera.WORLD_PER_DM * shape - origins[:, 0]
    apart = torch.linalg.cross(toward, directions[:, 0]).norm(dim=-1)
    np.testing.assert_allclose(apart, 0, atol=1e-12)


def test_the_face_of_no_coefficients_is_seen_from_the_front():
    """Spec 11, 2: c2w = diag(1, -1, -1) at (0, 0, 2.7)."""
    groups = bfm.split(torch.zeros(1, 257, dtype=FLOAT))
    label = camera.label_exact(
        groups.angles_B3.numpy(),
        groups.translation_B3.numpy(),
        origin_px=np.zeros((1, 2)),
        scale_px=np.array([102.0]),
        box_centre_px=np.zeros((1, 2)),
        box_side_px=np.array([238.0]),
    )
    pose, intrinsics = camera.unpack_label(label)
    np.testing.assert_allclose(pose[0, :3, :3], np.diag([1, -1, -1]), atol=1e-12)
    np.testing.assert_allclose(pose[0, :3, 3], [0, 0, 2.7], atol=1e-12)
    np.testing.assert_allclose(intrinsics[0, 0, 0], 1015 / 238)


def test_every_step_has_its_gradient():
    face = made_face(vertices=6, triangles=5)
    face.triangles_F3 = torch.tensor([[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, 0]])
    face.around_VK = bfm.triangles_around(face.triangles_F3, 6)
    coefficients = made_coefficients(faces=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda given: tuple(face(given)), coefficients)
