"""The smallest network that still has every part."""

import pytest
import torch

from model.export3d.config import CLeBSConfig, Export3DConfig
from model.export3d.network import Export3D


@pytest.fixture
def tiny_config():
    return Export3DConfig(
        image_px=48,
        plane_channels=4,
        hidden=32,
        heads=2,
        blocks=2,
        basis_vectors=3,
        lebs_hidden=16,
        clebs=CLeBSConfig(image_channels=8),
        raw_px=12,
        decoder_hidden=8,
        feature_channels=6,
        superres_channels=(8, 4),
        samples_coarse=4,
        samples_fine=4,
    )


@pytest.fixture
def build():
    """Return a function that builds a network of a configuration with lively weights.

    The layers that start at or near zero are larger, as if training had moved them.
    """

    def built(config):
        torch.manual_seed(0)
        network = Export3D(config)
        for parameter in network.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.2)
        with torch.no_grad():
            for parameter in network.generator.blocks.parameters():
                parameter.mul_(4)
        return network.eval()

    return built


@pytest.fixture
def inputs(tiny_config):
    """Source, expression and camera of two persons."""
    torch.manual_seed(1)
    frontal = [1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 2.7, 0, 0, 0, 1]
    camera = torch.tensor([*frontal, 4.2647, 0, 0.5, 0, 4.2647, 0.5, 0, 0, 1.0])
    side = tiny_config.image_px
    return torch.rand(2, 3, side, side) * 2 - 1, torch.randn(2, 64), camera.repeat(2, 1)
