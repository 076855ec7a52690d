"""Three distinct planes, laid out as frozen in the checkpoint format."""

import pytest
import torch

from model.rendering.triplane import PLANES, PointDecoder, plane_features, sample_triplane


def features_at(planes, *point):
    return plane_features(planes, torch.tensor([[point]]), 1.0)[0, :, :, 0]


@pytest.mark.parametrize(
    ("axis", "blind"), [(0, "yz"), (1, "zx"), (2, "xy")], ids=["along x", "along y", "along z"]
)
def test_moving_along_an_axis_changes_the_two_planes_that_hold_it(axis, blind):
    torch.manual_seed(0)
    planes = torch.randn(1, 3, 4, 8, 8)
    here = [0.05, -0.12, 0.2]
    there = list(here)
    there[axis] += 0.1
    moved = (features_at(planes, *here) != features_at(planes, *there)).any(dim=1)
    assert [name for name, change in zip(PLANES, moved, strict=True) if not change] == [blind]


@pytest.mark.parametrize(
    ("plane", "point", "row_column"),
    [
        ("xy", (0.375, 0.375, 0.0), (0, 3)),  # right and up: top right corner of the image
        ("xy", (-0.375, -0.125, 0.0), (2, 0)),
        ("yz", (0.0, 0.375, -0.375), (0, 0)),
        ("yz", (0.0, -0.375, 0.125), (3, 2)),
        ("zx", (0.375, 0.0, 0.375), (0, 3)),
        ("zx", (-0.125, 0.0, -0.375), (3, 1)),
    ],
)
def test_texel_of_a_point(plane, point, row_column):
    planes = torch.zeros(1, 3, 1, 4, 4)
    planes[0, PLANES.index(plane), 0, row_column[0], row_column[1]] = 6.0
    assert features_at(planes, *point)[PLANES.index(plane)].item() == pytest.approx(6.0)
    assert sample_triplane(planes, torch.tensor([[point]]), 1.0).item() == pytest.approx(2.0)


def test_box_size_scales_and_outside_is_zero():
    torch.manual_seed(0)
    planes = torch.randn(2, 3, 5, 8, 8)
    points = torch.rand(2, 7, 3) - 0.5
    assert sample_triplane(planes, points, 1.0).shape == (2, 7, 5)
    torch.testing.assert_close(
        sample_triplane(planes, points, 1.0), sample_triplane(planes, points * 3, 3.0)
    )
    assert not sample_triplane(planes, points + 2, 1.0).any()


def test_decoder_bounds_colours_but_not_densities():
    torch.manual_seed(0)
    decoder = PointDecoder(channels=4, hidden=16, colours=8)
    colours, density = decoder(torch.randn(1, 500, 4) * 300)
    assert colours.shape == (1, 500, 8)
    assert density.shape == (1, 500)
    assert colours.min() >= -0.001001
    assert colours.max() <= 1.001001
    assert colours.max() > 1  # a little beyond, on purpose
    assert density.abs().max() > 10


def test_paper_decoder_has_two_separate_heads():
    decoder = PointDecoder(32, 64, 32)
    assert sum(parameter.numel() for parameter in decoder.parameters()) == 4257
