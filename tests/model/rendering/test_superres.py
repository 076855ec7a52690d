"""Super-resolution adds to enlarged colours."""

import torch
from torch.nn import functional

from model.rendering.superres import SuperResolution


def test_starts_as_a_plain_enlargement_of_the_colours():
    torch.manual_seed(0)
    feature = torch.randn(2, 8, 5, 5)
    image = SuperResolution(8, (16, 4))(feature)
    enlarged = feature[:, :3]
    for _ in range(2):
        enlarged = functional.interpolate(
            enlarged, scale_factor=2, mode="bilinear", align_corners=False
        )
    assert image.shape == (2, 3, 20, 20)
    torch.testing.assert_close(image, enlarged)


def test_every_feature_can_reach_every_colour_once_it_has_learned():
    torch.manual_seed(0)
    module = SuperResolution(8, (16, 4))
    for block in module.blocks:
        torch.nn.init.normal_(block.colour.weight)
    feature = torch.randn(1, 8, 5, 5, requires_grad=True)
    module(feature).square().sum().backward()
    assert (feature.grad.abs().sum(dim=(0, 2, 3)) > 0).all()


def test_first_step_teaches_the_layers_that_add():
    module = SuperResolution(4, (8,))
    module(torch.randn(1, 4, 5, 5)).square().sum().backward()
    assert module.blocks[0].colour.weight.grad.abs().sum() > 0


def test_paper_size():
    module = SuperResolution(32, (128, 64))
    assert sum(parameter.numel() for parameter in module.parameters()) == 295_878
