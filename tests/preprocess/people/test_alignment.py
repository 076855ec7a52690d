import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform

from preprocess.crop import transform
from preprocess.people.alignment import similarity

FACE = np.array([[38.0, 52], [74, 52], [56, 72], [42, 92], [71, 92]])


@given(
    turn=st.floats(-np.pi, np.pi),
    zoom=st.floats(0.05, 20),
    shift=st.tuples(st.floats(-5000, 5000), st.floats(-5000, 5000)),
)
def test_a_face_that_was_turned_scaled_and_moved_comes_back(turn, zoom, shift):
    way = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    there = zoom * FACE @ way + shift
    np.testing.assert_allclose(transform(similarity(there, FACE), there), FACE, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_other_faces_come_as_near_as_least_squares_can(seed):
    there = 3 * FACE + np.random.default_rng(seed).normal(0, 20, FACE.shape)
    fitted = SimilarityTransform.from_estimate(there, FACE)
    np.testing.assert_allclose(similarity(there, FACE), fitted.params, atol=1e-9)


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), np.nan), FACE * np.inf])
def test_points_that_are_no_face_are_refused(points):
    with pytest.raises(ValueError, match="the points"):
        similarity(points, FACE)
