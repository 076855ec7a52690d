"""The blur after a pixel shuffle, which removes the grid that shuffled tokens leave.

Shape suffixes: B batch, C channels, H, W, K taps.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional


def low_pass_taps(kind: Literal["binomial", "gaussian"], sigma_px: float) -> Tensor:
    """Return taps_K that sum to 1: [1, 4, 6, 4, 1]/16, or 2^-(k/sigma)^2 for |k| <= 3 sigma.

    The binomial filter is exactly 0 at the grid's frequency. Spec 2.4.5.
    """
    if kind == "binomial":
        return torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    reach = math.floor(3 * sigma_px)
    taps_K = torch.tensor([2.0 ** -((k / sigma_px) ** 2) for k in range(-reach, reach + 1)])
    return taps_K / taps_K.sum()


class LowPass(nn.Module):
    """Filter every channel along rows and columns; edges are mirrored, so a constant stays."""

    taps_K: Tensor

    def __init__(self, kind: Literal["binomial", "gaussian"], sigma_px: float) -> None:
        super().__init__()
        # Not in the checkpoint: the configuration determines it.
        self.register_buffer("taps_K", low_pass_taps(kind, sigma_px), persistent=False)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Return the filtered image_BCHW of the same size, which must exceed the filter's reach."""
        channels = image_BCHW.shape[1]
        reach = len(self.taps_K) // 2
        kernel_C1K1 = self.taps_K.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
        padded = functional.pad(image_BCHW, (reach, reach, reach, reach), mode="reflect")
        rows = functional.conv2d(padded, kernel_C1K1, groups=channels)
        return functional.conv2d(rows, kernel_C1K1.transpose(2, 3), groups=channels)
