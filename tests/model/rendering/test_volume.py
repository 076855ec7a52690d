"""The renderer against closed forms."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional

from model.geometry.camera import label_exact, mirror_label
from model.rendering import volume
from model.rendering.triplane import PointDecoder
from model.rendering.volume import (
    MarchSettings,
    importance_depths,
    interval_weights,
    march,
    render,
)

FIXED = MarchSettings(
    box_size=1.0, depth_range="fixed", near=2.0, far=3.5, samples_coarse=24, samples_fine=24
)
EMPTY = -1e4
"""A density whose softplus is 0."""


def before_softplus(density):
    return math.log(math.expm1(density)) + 1


def frontal_rays(*, offsets=(0.0,)):
    origins = torch.tensor([[[offset, 0.0, 2.7] for offset in offsets]], dtype=torch.float64)
    directions = torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64).expand_as(origins)
    return origins, directions


def camera(angles=(0.1, -0.2, 0.05), offset_px=(7.0, -4.0)):
    return label_exact(
        np.array([angles]),
        np.array([[0.1, -0.1, 0.3]]),
        origin_px=np.array([[300.0, 200.0]]),
        scale_px=np.array([80.0]),
        box_centre_px=np.array([[300.0, 200.0]]) + offset_px,
        box_side_px=np.array([190.0]),
    )


def tiny_scene(settings=FIXED, side=6, *, jitter=False, seed=0):
    torch.manual_seed(seed)
    planes = torch.randn(1, 3, 4, 8, 8)
    decoder = PointDecoder(4, 16, 5)
    torch.manual_seed(1 + seed)
    return render(
        planes, decoder, torch.from_numpy(camera()).float(), side, settings, jitter=jitter
    )


@pytest.mark.parametrize("offset", [0.0, 0.1, 0.25, 0.4])
@pytest.mark.parametrize("fine", [0, 64])
def test_alpha_of_a_homogeneous_ball(offset, fine):
    density, radius = 3.0, 0.3
    settings = dataclasses.replace(FIXED, samples_coarse=400, samples_fine=fine)

    def ball(points):
        inside = points.norm(dim=-1) < radius
        value = torch.where(inside, before_softplus(density), EMPTY).double()
        return torch.full((*points.shape[:2], 3), 0.25, dtype=torch.float64), value

    colour, depth, alpha = march(ball, *frontal_rays(offsets=(offset,)), settings, jitter=False)
    chord = 2 * math.sqrt(max(radius**2 - offset**2, 0))
    spacing = (FIXED.far - FIXED.near) / 400
    expected = 1 - math.exp(-density * chord)
    assert alpha.item() == pytest.approx(expected, abs=2 * spacing * density)
    torch.testing.assert_close(colour, alpha.unsqueeze(-1) * 0.25 * torch.ones(3).double())
    if chord:
        # Mean depth of light stopped in a slab of that length, entered at 2.7 - chord / 2.
        lost = density * chord
        inside = (1 - (1 + lost) * math.exp(-lost)) / (density * expected)
        assert depth.item() == pytest.approx(2.7 - chord / 2 + inside, abs=2 * spacing)
    else:
        assert alpha.item() == 0
        assert depth.item() == pytest.approx(FIXED.far, abs=spacing)


def test_constant_density_has_its_exact_alpha():
    def fog(points):
        shape = points.shape[:2]
        value = torch.full(shape, before_softplus(0.7), dtype=torch.float64)
        return torch.ones(*shape, 1, dtype=torch.float64), value

    for samples in (2, 5, 48):
        settings = dataclasses.replace(FIXED, samples_coarse=samples, samples_fine=0)
        _, _, alpha = march(fog, *frontal_rays(), settings, jitter=False)
        between = (FIXED.far - FIXED.near) * (1 - 1 / samples)
        assert alpha.item() == pytest.approx(1 - math.exp(-0.7 * between), abs=1e-12)


def test_auto_range_covers_the_box():
    def fog(points):
        shape = points.shape[:2]
        value = torch.full(shape, before_softplus(2.0), dtype=torch.float64)
        return torch.ones(*shape, 1, dtype=torch.float64), value

    settings = dataclasses.replace(FIXED, depth_range="auto", samples_coarse=50, samples_fine=0)
    _, depth, alpha = march(fog, *frontal_rays(offsets=(0.0, 0.7)), settings, jitter=False)
    assert alpha[0, 0].item() == pytest.approx(1 - math.exp(-2.0 * 0.98), abs=1e-9)
    assert 2.2 < depth[0, 0] < 3.2
    assert alpha[0, 1] == 0  # beside the box


def test_weights_are_shares():
    torch.manual_seed(0)
    depth = torch.rand(2, 50, 30).sort(dim=-1).values
    weights = interval_weights(depth, torch.randn(2, 50, 30) * 100)
    assert weights.min() >= 0
    assert weights.sum(dim=-1).max() <= 1 + 1e-6
    assert weights.sum(dim=-1).max() > 0.99


def test_composite_of_unsorted_samples_equals_a_plain_loop():
    torch.manual_seed(3)
    settings = dataclasses.replace(FIXED, samples_coarse=6, samples_fine=5)
    seen = []

    def field(points):
        z = points[..., 2]
        colours = torch.stack((torch.sin(7 * z) ** 2, z**2), dim=-1)
        density = 4 * torch.cos(9 * z)
        seen.append((z, colours, density))
        return colours, density

    colour, depth, alpha = march(field, *frontal_rays(), settings, jitter=True)
    z, colours, density = (torch.cat(parts, dim=1)[0] for parts in zip(*seen, strict=True))
    order = z.argsort(descending=True)  # the camera looks down: near is high
    t, colours, density = 2.7 - z[order], colours[order], density[order]
    light, expected, gathered = 1.0, torch.zeros(2, dtype=torch.float64), 0.0
    for i in range(len(t) - 1):
        thickness = functional.softplus((density[i] + density[i + 1]) / 2 - 1) * (t[i + 1] - t[i])
        stopped = light * (1 - torch.exp(-thickness))
        expected += stopped * (colours[i] + colours[i + 1]) / 2
        gathered += stopped * (t[i] + t[i + 1]) / 2
        light = light - stopped
    torch.testing.assert_close(colour[0, 0], expected)
    torch.testing.assert_close(alpha[0, 0], 1 - light)
    torch.testing.assert_close(depth[0, 0], gathered / (1 - light))


def test_importance_samples_gather_where_the_weight_is():
    depth = torch.linspace(2.0, 3.0, 11).view(1, 1, 11)
    places = ((torch.arange(100) + 0.5) / 100).view(1, 1, 100)
    even = importance_depths(depth, torch.full((1, 1, 10), 0.3), places)
    # Equal weights: equal spread, the first and last interval no less than the rest.
    torch.testing.assert_close(even[0, 0], 2.0 + places[0, 0], atol=1e-5, rtol=0)
    weights = torch.zeros(1, 1, 10)
    weights[..., 4] = 1.0
    peaked = importance_depths(depth, weights, places)[0, 0]
    assert (peaked.diff() >= 0).all()
    near_peak = ((peaked >= 2.3) & (peaked <= 2.6)).sum()
    # Spread to its neighbours the weight is 0.5, 1, 0.5, each lifted by 0.01: 2.03 of 2.1.
    assert near_peak.item() == pytest.approx(100 * 2.03 / 2.1, abs=1)
    assert ((peaked >= 2.4) & (peaked <= 2.5)).sum().item() == pytest.approx(48, abs=1)


def test_gradient_of_the_weights():
    torch.manual_seed(0)
    depth = torch.rand(1, 2, 5, dtype=torch.float64).sort(dim=-1).values.requires_grad_()
    density = torch.randn(1, 2, 5, dtype=torch.float64, requires_grad=True)
    assert gradcheck(interval_weights, (depth, density))


def test_eval_is_bit_identical_and_training_is_not():
    first, second = tiny_scene(), tiny_scene(seed=0)
    for name in ("feature_BCHW", "depth_B1HW", "alpha_B1HW"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    noisy = tiny_scene(jitter=True)
    assert not torch.equal(noisy.feature_BCHW, first.feature_BCHW)
    torch.testing.assert_close(noisy.feature_BCHW, first.feature_BCHW, atol=0.1, rtol=0)


@pytest.mark.parametrize("piece_samples", [24 * 7, 24 * 35, 2**15])
@pytest.mark.parametrize("fine", [0, 24])
def test_rays_in_pieces_look_as_all_at_once(monkeypatch, piece_samples, fine):
    settings = dataclasses.replace(FIXED, samples_fine=fine)
    with torch.enable_grad():
        whole = tiny_scene(settings)  # what gradients go through is never cut
    monkeypatch.setattr(volume, "_PIECE_SAMPLES", piece_samples)
    marched = []
    monkeypatch.setattr(
        volume, "march", lambda *args, **named: marched.append(1) or march(*args, **named)
    )
    with torch.no_grad():
        cut = tiny_scene(settings)
    assert len(marched) == {24 * 7: 8, 24 * 35: 2, 2**15: 1}[piece_samples]
    for name in ("feature_BCHW", "depth_B1HW", "alpha_B1HW"):
        torch.testing.assert_close(getattr(cut, name), getattr(whole, name), atol=1e-6, rtol=0)
    marched.clear()
    tiny_scene(settings)
    with torch.no_grad():
        tiny_scene(settings, jitter=True)  # random samples are drawn for all rays at once
    assert len(marched) == 2


def test_memory_layout_of_the_planes_changes_no_bit():
    torch.manual_seed(0)
    planes = torch.randn(1, 3, 4, 8, 8)
    decoder = PointDecoder(4, 16, 5)
    label = torch.from_numpy(camera()).float()
    innermost = planes.movedim(2, -1).contiguous().movedim(-1, 2)
    first, second = (
        render(given, decoder, label, 6, FIXED, jitter=False) for given in (planes, innermost)
    )
    assert torch.equal(first.feature_BCHW, second.feature_BCHW)


def test_images_have_the_rows_of_the_camera_and_the_ranges_of_the_interface():
    image = tiny_scene(side=6)
    assert image.feature_BCHW.shape == (1, 5, 6, 6)
    assert image.depth_B1HW.shape == image.alpha_B1HW.shape == (1, 1, 6, 6)
    assert image.feature_BCHW.min() >= -1.01
    assert image.alpha_B1HW.max() <= 1
    assert FIXED.near <= image.depth_B1HW.min() <= image.depth_B1HW.max() <= FIXED.far


@pytest.mark.parametrize("depth_range", ["fixed", "auto"])
def test_mirrored_camera_of_mirrored_planes_gives_the_mirrored_image(depth_range):
    torch.manual_seed(0)
    settings = dataclasses.replace(FIXED, depth_range=depth_range)
    planes = torch.randn(1, 3, 4, 8, 8, dtype=torch.float64)
    decoder = PointDecoder(4, 16, 5).double()
    label = camera()
    # x runs along the columns of xy and of zx, and is absent from yz.
    mirrored = torch.stack((planes[:, 0].flip(-1), planes[:, 1], planes[:, 2].flip(-1)), dim=1)
    plain = render(planes, decoder, torch.from_numpy(label), 6, settings, jitter=False)
    other = render(
        mirrored, decoder, torch.from_numpy(mirror_label(label)), 6, settings, jitter=False
    )
    for name in ("feature_BCHW", "depth_B1HW", "alpha_B1HW"):
        torch.testing.assert_close(getattr(other, name), getattr(plain, name).flip(-1))
    assert not torch.allclose(plain.feature_BCHW, plain.feature_BCHW.flip(-1), atol=1e-3)
