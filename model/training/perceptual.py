"""Perceptual distances between images in the features of a fixed network.

The paper trains with LPIPS on VGG16 (Spec 2.6). LPIPS needs torchvision's VGG16 and its own
linear heads; where those are not at hand, the VGG16 trunk of HED stands in, without heads.
Every report names the distance it used (`Perceptual.name`), for their values do not compare.

Shape suffixes: B batch, C channels, H height, W width, O output channels.
"""

from pathlib import Path
from typing import ClassVar, Protocol

import h5py
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.training.data import resize_antialiased


class Perceptual(Protocol):
    """Differentiable distance of two batches of images in [-1, 1], averaged over the batch."""

    name: str

    def __call__(self, image_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
        """Return the scalar distance; gradients flow into `image_BCHW` only."""
        ...


class PerceptualWeightsError(ValueError):
    """The weights file is not what the distance needs; one sentence says what is missing."""


def _unit(features_BCHW: Tensor) -> Tensor:
    """Scale the feature vector of every pixel to length 1."""
    features_BCHW = features_BCHW.float()  # under autocast, too: their differences are small
    length_B1HW = features_BCHW.square().sum(dim=1, keepdim=True).add(1e-10).sqrt()
    return features_BCHW / length_B1HW


class HedVgg16(nn.Module):
    """Distance in the VGG16 trunk of HED (ImageNet weights tuned for edges; Spec assets e).

    After each of the first `blocks` blocks (1 to 5): features scaled to unit length at every
    pixel, squared difference summed over channels, mean over pixels; then the mean over blocks.
    The range is 0 to 2. Images larger than `largest_px` are shrunk to it first, where cost counts
    more than detail. Input is BGR x 255 less the Caffe means, as the trunk was trained.
    """

    TRUNK: ClassVar = "hed-vgg16"
    MEAN_BGR: ClassVar = (103.939, 116.779, 123.68)
    CONVS: ClassVar = (2, 2, 3, 3, 3)

    def __init__(self, weights: Path, blocks: int = 5, largest_px: int | None = None) -> None:
        super().__init__()
        if not 1 <= blocks <= len(self.CONVS):
            raise PerceptualWeightsError(f"blocks is {blocks}, allowed are 1 to {len(self.CONVS)}")
        self.name = f"{self.TRUNK}-blocks{blocks}" + (f"-{largest_px}px" if largest_px else "")
        self._largest_px = largest_px
        self.register_buffer("mean_1C11", torch.tensor(self.MEAN_BGR).view(1, 3, 1, 1))
        self._blocks = nn.ModuleList()
        with h5py.File(weights, "r") as file:
            for block in range(blocks):
                self._blocks.append(_read_block(file, block + 1, self.CONVS[block]))
        self.requires_grad_(False)
        # A tenth less time on a CPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, image_BCHW: Tensor) -> list[Tensor]:
        """Return the unit-length features after every block, each at half the size of the last."""
        x = (image_BCHW.flip(1) + 1) * 127.5 - self.get_buffer("mean_1C11")
        found = []
        for number, block in enumerate(self._blocks):
            if number:
                x = functional.max_pool2d(x, 2)
            x = block(x)
            found.append(_unit(x))
        return found

    def forward(self, image_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
        """Return the scalar distance; gradients flow into `image_BCHW` only."""
        side = image_BCHW.shape[-1]
        if self._largest_px is not None and side > self._largest_px:
            image_BCHW = resize_antialiased(image_BCHW, self._largest_px)
            target_BCHW = resize_antialiased(target_BCHW, self._largest_px)
        with torch.no_grad():
            wanted = self.features(target_BCHW)
        got = self.features(image_BCHW)
        distances = [(a - b).square().sum(dim=1).mean() for a, b in zip(got, wanted, strict=True)]
        return torch.stack(distances).mean()


class OnSquares:
    """A distance of one square of the pictures, at a place drawn anew for each step.

    For networks so costly that the whole picture takes longer than the generator: each part of it
    is looked at as closely, only less often.
    """

    def __init__(self, distance: Perceptual, side_px: int) -> None:
        self._distance, self._side_px = distance, side_px
        self.name = f"{distance.name}-square{side_px}px"

    def __call__(self, image_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
        """Return the scalar distance; gradients flow into `image_BCHW` only."""
        room = max(image_BCHW.shape[-1] - self._side_px, 0)
        top, left = torch.randint(room + 1, (2,)).tolist()
        rows, columns = slice(top, top + self._side_px), slice(left, left + self._side_px)
        return self._distance(image_BCHW[..., rows, columns], target_BCHW[..., rows, columns])


def _read_block(file: h5py.File, block: int, convs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(convs):
        group = f"block{block}/layers/conv2d{f'_{index}' if index else ''}/vars"
        if group not in file:
            raise PerceptualWeightsError(f"{file.filename} has no entry {group}")
        kernel_HWCO = np.asarray(file[f"{group}/0"], dtype=np.float32)
        conv = nn.Conv2d(kernel_HWCO.shape[2], kernel_HWCO.shape[3], 3, padding=1)
        with torch.no_grad():
            conv.weight.copy_(torch.from_numpy(kernel_HWCO).permute(3, 2, 0, 1))
            conv.bias = nn.Parameter(torch.from_numpy(np.asarray(file[f"{group}/1"])))
        layers += [conv, nn.ReLU()]
    return nn.Sequential(*layers)
