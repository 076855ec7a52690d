"""The blur removes the pixel shuffle's grid and nothing that is constant."""

import pytest
import torch

from model.export3d.lowpass import LowPass, low_pass_taps


def checkerboard(side=12):
    place = torch.arange(side)
    return (1 - 2 * ((place[:, None] + place) % 2)).float().expand(1, 3, side, side)


def test_binomial_erases_the_checkerboard():
    assert LowPass("binomial", 1.0)(checkerboard()).abs().max() < 1e-6


@pytest.mark.parametrize("pattern", ["rows", "columns"])
def test_binomial_erases_stripes(pattern):
    stripes = (1 - 2 * (torch.arange(12) % 2)).float().view(1, 1, 12, 1).expand(1, 2, 12, 12)
    if pattern == "columns":
        stripes = stripes.transpose(2, 3)
    assert LowPass("binomial", 1.0)(stripes).abs().max() < 1e-6


@pytest.mark.parametrize(("sigma", "gain"), [(1.0, 0.057), (1.5, 0.0009)])
def test_gaussian_gain_at_the_grid(sigma, gain):
    taps = low_pass_taps("gaussian", sigma)
    signs = (-1.0) ** torch.arange(len(taps))
    assert abs((taps * signs).sum().item()) == pytest.approx(gain, rel=0.1)
    blurred = LowPass("gaussian", sigma)(checkerboard()).abs().max().item()
    assert blurred == pytest.approx(gain**2, rel=0.2, abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "sigma"), [("binomial", 1.0), ("gaussian", 1.0), ("gaussian", 2.0)]
)
def test_a_constant_passes_to_the_very_edge(kind, sigma):
    constant = torch.full((2, 3, 9, 9), 0.7)
    torch.testing.assert_close(LowPass(kind, sigma)(constant), constant)


def test_channels_do_not_mix_and_nothing_shifts():
    image = torch.zeros(1, 2, 9, 9)
    image[0, 1, 4, 4] = 1
    blurred = LowPass("binomial", 1.0)(image)
    assert not blurred[0, 0].any()
    torch.testing.assert_close(blurred, blurred.flip(2, 3))
    assert blurred[0, 1, 4, 4].item() == pytest.approx((6 / 16) ** 2)
