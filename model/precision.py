"""Arithmetic of the networks: float32 throughout, or bfloat16 where that does no harm.

What needs float32 (expression encoder, rays and volume rendering, cosines, losses, running mean)
steps out of bfloat16 by itself (Spec 2.3.3, 2.5); weights and optimiser stay in float32.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeAlias

import torch

Precision: TypeAlias = Literal["float32", "bf16"]


def arithmetic(device: torch.device, precision: Precision) -> torch.autocast:
    """Return the context in which networks are to run."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which a surrounding `arithmetic` has no effect."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
