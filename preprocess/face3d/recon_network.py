"""Deep3DFaceRecon's network: a ResNet-50 and seven linear heads, 257 coefficients (Spec 2.2.1).

Modules are named as in the published checkpoints, so that these load strictly.
"""

import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CROP_PX = 224
_KEY = "net_recon"
_HEADS = (80, 64, 80, 3, 27, 2, 1)  # the translation has one for x and y, and one for z
_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # width and number of blocks
_EXPANSION = 4
_STEM = 64


class ReconNetwork(nn.Module):
    """Coefficients of aligned face pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = _Trunk()
        outputs = _EXPANSION * _STAGES[-1][0]
        self.final_layers = nn.ModuleList(nn.Conv2d(outputs, width, 1) for width in _HEADS)
        for head in self.final_layers.parameters():
            nn.init.zeros_(head)

    def forward(self, pictures_B3HW: Tensor) -> Tensor:
        """RGB [B,3,224,224], 0 to 1, to [B,257]: identity, expression, texture, angles, ..."""
        features = self.backbone(pictures_B3HW)
        return torch.cat([head(features) for head in self.final_layers], dim=1).flatten(1)


class _Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, _STEM, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM)
        inputs = [_STEM, *(_EXPANSION * width for width, _ in _STAGES)]
        layers = [
            nn.Sequential(
                _Block(before, width, stride=1 if before == _STEM else 2),
                *(_Block(after, width, stride=1) for _ in range(blocks - 1)),
            )
            for (before, after), (width, blocks) in zip(pairwise(inputs), _STAGES, strict=True)
        ]
        self.layer1, self.layer2, self.layer3, self.layer4 = layers

    def forward(self, pictures_B3HW: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(pictures_B3HW)))
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return functional.adaptive_avg_pool2d(x, 1)


class _Block(nn.Module):
    """Narrow, look about, widen, add; it is the 3x3 convolution that shrinks the picture."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = _EXPANSION * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential()
        if inputs != outputs:
            self.downsample.append(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False))
            self.downsample.append(nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def read_recon_network(checkpoint: Path) -> ReconNetwork:
    """Read the network from `epoch_20.pth` (either release), for evaluation on the processor.

    Nothing in the file is executed. Raises OSError if it cannot be read, ValueError (one sentence)
    if it is not such a checkpoint.
    """
    state = _state(checkpoint)
    with torch.device("meta"):
        network = ReconNetwork()
    expected = network.state_dict()
    differing = [
        name
        for name in {**expected, **state}
        if name not in expected or getattr(state.get(name), "shape", None) != expected[name].shape
    ]
    if differing:
        raise ValueError(
            f"{checkpoint} holds another network: {len(differing)} tensors differ in name or "
            f"shape from the published ResNet-50, the first is {differing[0]!r}"
        )
    if not all(torch.isfinite(tensor).all() for tensor in state.values()):
        raise ValueError(f"{checkpoint} is damaged: some of its weights are not finite")
    network.load_state_dict(state, strict=True, assign=True)
    return network.float().eval().requires_grad_(requires_grad=False)


def _state(checkpoint: Path) -> dict[str, Any]:
    with checkpoint.open("rb") as file:
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"{checkpoint} is no torch file, or holds more than tensors and was not opened"
            ) from error
        except Exception as error:  # damage surfaces as nearly any type in there
            raise ValueError(f"{checkpoint} is no torch file, or is damaged") from error
    if not isinstance(content, dict) or not isinstance(content.get(_KEY), dict):
        raise ValueError(  # noqa: TRY004  the file is wrong, not a caller's type
            f"{checkpoint} is no checkpoint of Deep3DFaceRecon: it has no tensors under {_KEY!r}"
        )
    return dict(content[_KEY])
