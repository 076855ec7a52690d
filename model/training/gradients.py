"""Gradients that must be numbers."""

import torch
from torch import Tensor, nn

from model.training.loop import DivergedError


@torch.no_grad()
def check_gradients(module: nn.Module, what: str, step: int) -> None:
    """Raise DivergedError naming the first weight whose gradient is not a finite number.

    For hunting only: it makes the processor wait for the device at every weight.
    """
    for name, parameter in module.named_parameters():
        gradient: Tensor | None = parameter.grad
        if gradient is not None and not torch.isfinite(gradient).all():
            raise DivergedError(f"the gradient of {what}.{name} is not finite at step {step}")
