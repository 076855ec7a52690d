"""Arithmetic of a training step: float32 throughout, or bfloat16 where that does no harm.

What needs float32 (expression encoder, rays and volume rendering, cosines, losses, running mean)
steps out of bfloat16 by itself (Spec 2.3.3, 2.5); weights and optimiser stay in float32.
"""

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from model.training.loop import DivergedError

Precision: TypeAlias = Literal["float32", "bf16"]


def arithmetic(device: torch.device, precision: Precision) -> torch.autocast:
    """Return the context in which the networks of a step are to run."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


@torch.no_grad()
def check_gradients(module: nn.Module, what: str, step: int) -> None:
    """Raise DivergedError naming the first weight whose gradient is not a finite number.

    For hunting only: it makes the processor wait for the device at every weight.
    """
    for name, parameter in module.named_parameters():
        gradient: Tensor | None = parameter.grad
        if gradient is not None and not torch.isfinite(gradient).all():
            raise DivergedError(f"the gradient of {what}.{name} is not finite at step {step}")
