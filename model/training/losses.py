"""Losses of the generator and its discriminator (Spec 2.6).

Shape suffixes: B batch, C channels, H height, W width, 25 camera label.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from model.training.data import resize_antialiased
from model.training.expression_loss import ExpressionLoss
from model.training.perceptual import Perceptual


@dataclass(frozen=True)
class ReconstructionWeights:
    """Weights of the four terms of Export3D eq. 13, all 1 in the paper, and of one more."""

    l2: float = 1.0
    l2_raw: float = 1.0
    perceptual: float = 1.0
    perceptual_raw: float = 1.0
    expression: float = 0.0
    """Of the difference in expression that a network of landmarks sees; not in the paper."""
    expression_of_others: float = 0.0
    """Of the same between a driving frame and another person's source moved by it."""


@dataclass(frozen=True)
class Reconstruction:
    """Weighted sum, to differentiate, and the unweighted terms by name, detached."""

    total: Tensor
    terms: dict[str, Tensor]


def reconstruction_loss(
    image_BCHW: Tensor,
    raw_BCHW: Tensor,
    target_BCHW: Tensor,
    perceptual: Perceptual | None,
    weights: ReconstructionWeights,
    expression: ExpressionLoss | None = None,
) -> Reconstruction:
    """Return L_rec of Export3D eq. 13 on images in [-1, 1], with the expression's term.

    The raw render is compared with the target resized, antialiased, to its own size. Terms of
    weight 0 are not computed; without `perceptual` the two perceptual terms drop out, without
    `expression` that one.
    """
    small_BCHW = resize_antialiased(target_BCHW, raw_BCHW.shape[-1])
    total = image_BCHW.new_zeros(())
    terms: dict[str, Tensor] = {}
    pairs = {"": (image_BCHW, target_BCHW), "_raw": (raw_BCHW, small_BCHW)}
    for suffix, (got, wanted) in pairs.items():
        weight = weights.l2_raw if suffix else weights.l2
        if weight:
            terms[f"l2{suffix}"] = value = functional.mse_loss(got.float(), wanted)
            total = total + weight * value
        weight = weights.perceptual_raw if suffix else weights.perceptual
        if weight and perceptual is not None:
            terms[f"perceptual{suffix}"] = value = perceptual(got, wanted)
            total = total + weight * value
    if weights.expression and expression is not None:
        terms["expression"] = value = expression(image_BCHW, target_BCHW)
        total = total + weights.expression * value
    return Reconstruction(total, {name: term.detach() for name, term in terms.items()})


def adversarial_loss_of_generator(fake_B1: Tensor) -> Tensor:
    """Return the non-saturating binary cross-entropy, softplus(-D(fake))."""
    return functional.softplus(-fake_B1.float()).mean()


def adversarial_loss_of_discriminator(real_B1: Tensor, fake_B1: Tensor) -> Tensor:
    """Return the binary cross-entropy, softplus(D(fake)) + softplus(-D(real))."""
    return (
        functional.softplus(fake_B1.float()).mean() + functional.softplus(-real_B1.float()).mean()
    )


def r1_penalty(real_B1: Tensor, images_BCHW: Tensor) -> Tensor:
    """Return half the mean squared gradient of D at real images (StyleGAN2-ADA; gamma outside).

    `images_BCHW` must require gradients and have led to `real_B1`.
    """
    (gradient_BCHW,) = torch.autograd.grad(real_B1.sum(), images_BCHW, create_graph=True)
    return gradient_BCHW.square().sum(dim=(1, 2, 3)).mean() / 2
