"""Super-resolution of a rendered feature image by plain convolutions.

Shape suffixes: B batch, C channels, H, W.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


class SuperResolution(nn.Module):
    """Blocks that double the side: two convolutions refine features, a third adds to the colours.

    EG3D's module without style modulation (Export3D, supplement 1.2; Spec 2.5). At first it only
    enlarges the raw colours, since the layers that add to them start at zero.
    """

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        inputs = (channels, *widths[:-1])
        pairs = zip(inputs, widths, strict=True)
        self.blocks = nn.ModuleList(_Block(narrow, wide) for narrow, wide in pairs)

    def forward(self, feature_BCHW: Tensor) -> Tensor:
        """Return image_BCHW with 3 channels, its side 2^blocks times the input's."""
        image_BCHW = feature_BCHW[:, :3]
        for block in self.blocks:
            feature_BCHW, image_BCHW = block(feature_BCHW, image_BCHW)
        return image_BCHW


class _Block(nn.Module):
    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.colour = nn.Conv2d(width, 3, 1)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        for layer in (self.first, self.second):
            nn.init.kaiming_normal_(layer.weight, a=0.2)

    def forward(self, feature_BCHW: Tensor, image_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        feature_BCHW = functional.leaky_relu(self.first(_double(feature_BCHW)), 0.2)
        feature_BCHW = functional.leaky_relu(self.second(feature_BCHW), 0.2)
        return feature_BCHW, _double(image_BCHW) + self.colour(feature_BCHW)


def _double(image_BCHW: Tensor) -> Tensor:
    return functional.interpolate(image_BCHW, scale_factor=2, mode="bilinear", align_corners=False)
