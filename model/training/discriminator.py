"""Camera-conditional discriminator of the StyleGAN2-ADA kind (Spec 2.6).

Residual blocks that halve the image down to 4 px, an epilogue with the minibatch standard
deviation, and a projection on the camera: score = <features, map(camera)> / sqrt(width).
Weights are kept at unit variance and scaled at use (equalised learning rate).

Shape suffixes: B batch, C channels, H height, W width, 25 camera label, D width of the projection.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2
RELU_GAIN = math.sqrt(2)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Size of the discriminator; the defaults are StyleGAN2-ADA's "paper256" (26.4 M at 256 px).

    `dual` feeds the raw render, enlarged, beside the image (EG3D); the paper uses the image only.
    """

    channel_base: int = 16384
    channel_max: int = 512
    mapping_layers: int = 8
    minibatch_group: int = 4
    dual: bool = False

    def channels(self, size_px: int) -> int:
        """Return the width of the features at a resolution."""
        return min(self.channel_base // size_px, self.channel_max)


def halved_sizes(image_px: int) -> tuple[int, ...]:
    """Return the resolutions from the image down, halved until 4 px or an odd number is reached."""
    sizes = [image_px]
    while sizes[-1] > 4 and sizes[-1] % 2 == 0:
        sizes.append(sizes[-1] // 2)
    return tuple(sizes)


class EqualLinear(nn.Module):
    """Linear layer with its weight at unit variance; `rate` scales the effective learning rate."""

    def __init__(self, inputs: int, outputs: int, *, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self._scale = rate / math.sqrt(inputs)
        self._rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.linear(x, self.weight * self._scale, self.bias * self._rate)


class EqualConv(nn.Module):
    """Convolution with its weight at unit variance, "same" padding, optional halving.

    Halving filters with [1, 3, 3, 1] / 8 first, so that no detail folds back.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, down: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self._scale = 1 / math.sqrt(inputs * kernel**2)
        self._down = down
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("filter_HW", torch.outer(taps, taps), persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Apply the convolution."""
        weight = self.weight * self._scale
        pad = weight.shape[-1] // 2
        if not self._down:
            return functional.conv2d(x_BCHW, weight, self.bias, padding=pad)
        # Kernel 3 reaches one pixel further on each side; the even filter sits on the half pixel.
        channels = x_BCHW.shape[1]
        taps = self.get_buffer("filter_HW").to(x_BCHW.dtype).repeat(channels, 1, 1, 1)
        soft = functional.conv2d(x_BCHW, taps, padding=pad + 1, groups=channels)
        return functional.conv2d(soft, weight, self.bias, stride=2)


def _relu(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, SLOPE) * RELU_GAIN


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, the second halving, beside a halving 1x1 skip, both at gain 1/2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = EqualConv(inputs, inputs, 3)
        self.second = EqualConv(inputs, outputs, 3, down=True)
        self.skip = EqualConv(inputs, outputs, 1, down=True, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Apply the block."""
        branch = _relu(self.second(_relu(self.first(x_BCHW))))
        out: Tensor = (branch + self.skip(x_BCHW)) * math.sqrt(0.5)
        return out


def minibatch_deviation(x_BCHW: Tensor, group: int) -> Tensor:
    """Append a channel with the standard deviation over groups of the batch (StyleGAN2).

    The group is the largest divisor of the batch up to `group`.
    """
    batch, channels, height, width = x_BCHW.shape
    size = next(n for n in range(min(group, batch), 0, -1) if batch % n == 0)
    grouped = x_BCHW.view(size, batch // size, channels, height, width)
    deviation = (grouped.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    extra = deviation.repeat(size).view(batch, 1, 1, 1).expand(-1, 1, height, width)
    return torch.cat([x_BCHW, extra], dim=1)


class CameraMapping(nn.Module):
    """Camera label to projection vector: embedding, unit second moment, fully connected layers."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.embed = EqualLinear(25, width)
        self.layers = nn.ModuleList(EqualLinear(width, width, rate=0.01) for _ in range(layers))

    def forward(self, camera_B25: Tensor) -> Tensor:
        """Return the projection vectors [B, D]."""
        x_BD: Tensor = self.embed(camera_B25)
        x_BD = x_BD * torch.rsqrt(x_BD.square().mean(dim=1, keepdim=True) + 1e-8)
        for layer in self.layers:
            x_BD = _relu(layer(x_BD))
        return x_BD


class Discriminator(nn.Module):
    """Score of an image under a camera; positive means real."""

    def __init__(self, image_px: int, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        *sizes, last = halved_sizes(image_px)
        width = config.channels(last)
        self.from_rgb = EqualConv(6 if config.dual else 3, config.channels(image_px), 1)
        self.blocks = nn.Sequential(
            *(ResidualBlock(config.channels(px), config.channels(px // 2)) for px in sizes)
        )
        self.last_conv = EqualConv(width + 1, width, 3)
        self.hidden = EqualLinear(width * last**2, width)
        self.out = EqualLinear(width, width)
        self.mapping = CameraMapping(width, config.mapping_layers)

    def forward(self, image_BCHW: Tensor, raw_BCHW: Tensor, camera_B25: Tensor) -> Tensor:
        """Return the scores [B, 1]; the raw render is looked at in dual mode only."""
        x = image_BCHW
        if self.config.dual:
            raw = functional.interpolate(
                raw_BCHW, size=x.shape[-2:], mode="bilinear", align_corners=False
            )
            x = torch.cat([x, raw], dim=1)
        x = self.blocks(_relu(self.from_rgb(x)))
        x = _relu(self.last_conv(minibatch_deviation(x, self.config.minibatch_group)))
        features_BD = self.out(_relu(self.hidden(x.flatten(1))))
        projected_BD: Tensor = features_BD * self.mapping(camera_B25)
        return projected_BD.sum(dim=1, keepdim=True) / math.sqrt(features_BD.shape[1])
