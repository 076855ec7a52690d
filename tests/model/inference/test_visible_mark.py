"""The visible mark is there at every size, and only in its corner."""

import numpy as np
import pytest

from model.inference.visible_mark import with_visible_mark


@pytest.mark.parametrize(("height", "width"), [(64, 96), (256, 256), (360, 640), (1920, 1080)])
def test_it_changes_the_lower_left_corner_alone(height: int, width: int) -> None:
    frame = np.full((height, width, 3), 128, np.uint8)
    marked = with_visible_mark(frame)
    rows, columns = np.nonzero((marked != frame).any(axis=2))
    assert marked[rows, columns].max() > 240
    assert marked[rows, columns].min() == 128 // 3
    assert rows.min() > height * 0.6
    assert columns.max() < width * 0.99
    assert (frame == 128).all()
