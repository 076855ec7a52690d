"""Tables of images and clouds of points, looked at pixel by pixel."""

import cv2
import numpy as np

from pipeline.reports.pixels import clouds, labelled_grid, png


def decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_png_loses_nothing():
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    assert np.array_equal(decoded(png(image)), image)


def test_each_image_is_in_its_cell():
    rng = np.random.default_rng(1)
    rows = {name: rng.integers(0, 256, (2, 32, 32, 3), np.uint8) for name in ("one", "a long name")}
    grid = labelled_grid(rows, ["left", "right"], 32)
    cells = grid[-64:, -64:]
    assert np.array_equal(cells[:32, 32:], rows["one"][1])
    assert np.array_equal(cells[32:, :32], rows["a long name"][0])
    assert grid.shape[0] > 64
    assert grid[:-64].min() < 128  # the columns are named
    assert grid[-32:, :-64].min() < 128  # and the rows


def test_images_of_other_sizes_are_brought_to_the_cell():
    rows = {"row": [np.full((8, 8, 3), 200, np.uint8), np.full((100, 100, 3), 50, np.uint8)]}
    grid = labelled_grid(rows, ["a", "b"], 16)
    assert (grid[-16:, -32:-16] == 200).all()
    assert (grid[-16:, -16:] == 50).all()


def test_clouds_are_plotted_alike_each_time():
    rng = np.random.default_rng(2)
    panels = {
        side: {name: rng.normal(size=(5, 2)) for name in ("one", "two")} for side in ("a", "b")
    }
    first = clouds(panels)
    assert clouds(panels) == first
    colours = {tuple(colour) for colour in decoded(first).reshape(-1, 3)}
    assert len(colours) > 10  # two marks on white, with their edges
