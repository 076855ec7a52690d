import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.crop import transform
from preprocess.landmarks.canvas import fit_canvas


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([160, 320, 640, 960]))
def test_the_whole_picture_is_in_it_and_little_else(height, width, longest):
    affine, size = fit_canvas(height, width, longest)
    corner = transform(affine, np.array([[width, height]], float))[0]
    assert (corner <= np.array(size) + 1e-6).all()
    assert (np.array(size) - corner < 32 + 1e-6).all()
    assert all(side % 32 == 0 for side in size)
    assert corner.max() == pytest.approx(min(longest, max(height, width)))


def test_a_small_picture_is_not_enlarged():
    affine, size = fit_canvas(100, 200, 640)
    np.testing.assert_array_equal(affine, np.eye(3))
    assert size == (224, 128)
