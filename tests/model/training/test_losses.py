import math

import pytest
import torch

from model.training.losses import (
    ReconstructionWeights,
    adversarial_loss_of_discriminator,
    adversarial_loss_of_generator,
    r1_penalty,
    reconstruction_loss,
)


class MeanDifference:
    name = "mean-difference"

    def __call__(self, image_BCHW, target_BCHW):
        return (image_BCHW - target_BCHW).abs().mean()


def test_reconstruction_adds_full_and_raw_terms():
    target = torch.full((2, 3, 16, 16), 0.5)
    image, raw = target - 0.2, torch.full((2, 3, 4, 4), 0.9, requires_grad=True)
    weights = ReconstructionWeights(l2=1, l2_raw=2, perceptual=3, perceptual_raw=4)
    loss = reconstruction_loss(image, raw, target, MeanDifference(), weights)
    assert {name: round(float(v), 4) for name, v in loss.terms.items()} == {
        "l2": 0.04, "perceptual": 0.2, "l2_raw": 0.16, "perceptual_raw": 0.4,
    }  # fmt: skip
    assert float(loss.total.detach()) == pytest.approx(0.04 + 2 * 0.16 + 3 * 0.2 + 4 * 0.4)
    loss.total.backward()
    assert raw.grad.abs().sum() > 0


def test_the_expression_term_sees_the_whole_picture_alone_and_weighs_as_told():
    target = torch.zeros(1, 3, 16, 16)
    weights = ReconstructionWeights(l2=0, l2_raw=0, expression=0.5)
    loss = reconstruction_loss(
        target + 0.2, target[..., :4, :4] + 9, target, None, weights, MeanDifference()
    )
    assert {name: round(float(v), 4) for name, v in loss.terms.items()} == {"expression": 0.2}
    assert float(loss.total) == pytest.approx(0.1)


def test_terms_of_no_weight_and_without_a_distance_are_left_out():
    target = torch.zeros(1, 3, 16, 16)
    weights = ReconstructionWeights(l2_raw=0)
    loss = reconstruction_loss(target, target[..., :4, :4], target, None, weights)
    assert list(loss.terms) == ["l2"]


def test_cross_entropies_at_an_undecided_discriminator():
    zero = torch.zeros(4, 1)
    assert float(adversarial_loss_of_generator(zero)) == pytest.approx(math.log(2))
    assert float(adversarial_loss_of_discriminator(zero, zero)) == pytest.approx(2 * math.log(2))
    sure = torch.full((4, 1), 20.0)
    assert float(adversarial_loss_of_discriminator(sure, -sure)) < 1e-6
    assert float(adversarial_loss_of_generator(sure)) < 1e-6


def test_r1_is_half_the_squared_gradient():
    images = torch.randn(3, 3, 4, 4, requires_grad=True)
    scores = 2 * images.sum(dim=(1, 2, 3)).unsqueeze(1)
    assert float(r1_penalty(scores, images).detach()) == pytest.approx(4 * 48 / 2)
