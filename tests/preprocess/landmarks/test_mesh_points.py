import numpy as np

from preprocess.crop import CANONICAL_K3
from preprocess.face3d.mesh478 import read_mesh478
from preprocess.landmarks.mesh_points import IBUG68_INDEX, eye_distance, five_points, ibug68

MEAN_V3 = read_mesh478().face.mean_V3
# iBUG's own left-right pairs.
_EYES = (45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40)
_LIPS = (54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65)
_OUTLINE = (*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1))
MIRROR_68 = np.array((*_OUTLINE, *_EYES, *_LIPS))


def test_the_table_names_68_different_vertices():
    assert len(IBUG68_INDEX) == len(set(IBUG68_INDEX.tolist())) == 68
    assert ibug68(np.zeros((7, 478, 2))).shape == (7, 68, 2)


def test_the_68_points_are_symmetric_as_ibug_orders_them():
    points = ibug68(MEAN_V3)
    np.testing.assert_allclose(points[MIRROR_68] * [-1, 1, 1], points, atol=0.02)


def test_the_68_points_lie_in_anatomical_order():
    x, y, z = ibug68(MEAN_V3).T
    assert (np.diff(x[:17]) > -0.02).all()  # jaw from image left to image right
    assert y[8] == y.min()
    assert (np.diff(x[17:27]) > 0).all()
    assert (np.diff(y[27:31]) < 0).all()  # down the bridge of the nose
    assert z[30] > z[27:30].max() - 0.05
    assert x[36] < x[39] < x[42] < x[45]
    assert y[51] > y[62] > y[66] > y[57]  # lips from top to bottom


def test_five_points_are_those_of_the_68():
    """Spec 2.2.1, points counted from 1 there."""
    points = ibug68(MEAN_V3)
    expected = [points[[36, 39]].mean(0), points[[42, 45]].mean(0), *points[[30, 48, 54]]]
    np.testing.assert_allclose(five_points(MEAN_V3), expected)


def test_five_points_of_the_mean_face_are_the_canonical_ones():
    np.testing.assert_allclose(five_points(MEAN_V3), CANONICAL_K3, atol=0.02)


def test_eye_distance():
    apart = float(eye_distance(MEAN_V3[:, :2]))
    assert 0.60 < apart < 0.64
