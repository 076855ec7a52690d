import pytest
import torch

from model.training.discriminator import (
    Discriminator,
    DiscriminatorConfig,
    halved_sizes,
    minibatch_deviation,
)

SMALL = {"channel_base": 256, "channel_max": 32, "mapping_layers": 2}


def _inputs(batch: int = 4, px: int = 32):
    torch.manual_seed(0)
    return torch.randn(batch, 3, px, px), torch.randn(batch, 3, 16, 16), torch.randn(batch, 25)


def test_the_default_has_the_size_of_stylegan2_ada():
    with torch.device("meta"):
        network = Discriminator(256, DiscriminatorConfig())
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    assert millions == pytest.approx(26.4, abs=0.05)


@pytest.mark.parametrize("px", [8, 16, 24, 32, 48])
def test_scores_have_one_value_per_image_at_every_size(px):
    network = Discriminator(px, DiscriminatorConfig(**SMALL))
    assert network(*_inputs(px=px)).shape == (4, 1)


def test_the_score_depends_on_the_camera_and_in_dual_mode_on_the_raw_render():
    image, raw, camera = _inputs()
    torch.manual_seed(0)
    single, dual = (Discriminator(32, DiscriminatorConfig(**SMALL, dual=d)) for d in (False, True))
    assert not torch.allclose(single(image, raw, camera), single(image, raw, camera + 1))
    assert torch.equal(single(image, raw, camera), single(image, -raw, camera))
    assert not torch.allclose(dual(image, raw, camera), dual(image, -raw, camera))


def test_features_keep_their_scale_through_the_depth():
    torch.manual_seed(0)
    network = Discriminator(64, DiscriminatorConfig(channel_base=2048, channel_max=64))
    image = torch.randn(16, 3, 64, 64)
    x = network.from_rgb(image)
    assert 0.5 < float(x.detach().std()) < 2
    assert 0.15 < float(network.blocks(x).detach().std()) < 2


def test_minibatch_deviation_sees_equal_images():
    x = torch.randn(1, 2, 4, 4).repeat(4, 1, 1, 1)
    assert float(minibatch_deviation(x, 4)[:, -1].max()) < 1e-3
    assert float(minibatch_deviation(torch.randn(6, 2, 4, 4), 4)[:, -1].min()) > 0.3


def test_sizes_halve_down_to_4_px_or_an_odd_number():
    assert halved_sizes(32) == (32, 16, 8, 4)
    assert halved_sizes(48) == (48, 24, 12, 6, 3)
