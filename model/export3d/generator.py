"""The hybrid tri-plane generator G (Export3D 3.2): convolutions, conditional blocks, convolutions.

Shape suffixes: B batch, N tokens, C channels, H, W, M condition vectors, D their length, P planes.
The numbers in comments are the rows of Spec 2.4.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.export3d.blocks import (
    LN_EPS,
    Attention,
    Block,
    CrossAttentionNorm,
    EAdaLN,
    MixFFN,
    OverlapPatchMerge,
    ResidualBlock,
    convolution,
    tokens_to_map,
)
from model.export3d.config import Export3DConfig
from model.export3d.lowpass import LowPass
from model.rendering.triplane import PLANES

LAST_CONVOLUTION_STD = 0.02
"""Deviation of the last layer's weights: small, so that planes start near the running mean."""


@dataclass(frozen=True)
class SourceTokens:
    """All that the generator needs of a source image; no expression has touched it yet.

    `detail_BCHW` is the output of the high-resolution branch, where the network has one.
    """

    tokens_BNC: Tensor
    detail_BCHW: Tensor | None


def join_tokens(sources: Sequence[SourceTokens]) -> SourceTokens:
    """Return the tokens of several sources, of one picture each, as one batch.

    Laid out alike whether they are of one picture or of many, so that the same kernels take them.
    """
    if len(sources) == 1:
        return sources[0]
    details = [source.detail_BCHW for source in sources if source.detail_BCHW is not None]
    tokens_BNC = torch.cat([source.tokens_BNC for source in sources])
    return SourceTokens(tokens_BNC, torch.cat(details) if details else None)


class TriplaneGenerator(nn.Module):
    """Source image and encoded expression to raw planes (Export3D eq. 6)."""

    def __init__(self, config: Export3DConfig) -> None:
        super().__init__()
        hidden = config.hidden
        half, base = hidden // 8, hidden // 4
        self.grid = config.coordinate_grid
        self.plane_channels = config.plane_channels
        self.low_side = config.image_px // 16
        self.high_side = config.image_px // 4
        inputs = 5 if self.grid else 3

        self.stem = _stem(inputs, base)  # 0 to 3
        self.merge_source = OverlapPatchMerge(base, hidden)  # 4
        self.blocks = nn.ModuleList(self._conditional_block(config) for _ in range(config.blocks))
        self.spread_source = _spread(config)  # 6
        self.grow = nn.Sequential(_Double(), convolution(base, half), _act())  # 7
        self.grow_more = nn.Sequential(  # 8
            _Double(), convolution(half, half), _act(), convolution(half, half), _act()
        )
        self.detail = _detail_branch(inputs, hidden) if config.highres_skip else None
        extra = 3 * hidden // 32 if config.highres_skip else 0
        self.fuse = nn.Sequential(  # 9
            convolution(half + extra, base), _act(), convolution(base, half), _act()
        )
        self.merge_planes = OverlapPatchMerge(half, hidden)  # 10
        self.refine = Block(  # 11
            (nn.LayerNorm(hidden, eps=LN_EPS), nn.LayerNorm(hidden, eps=LN_EPS)),
            Attention(hidden, config.heads, self.high_side, config.attention_reduction),
            MixFFN(hidden, config.mlp_ratio, self.high_side),
        )
        self.spread_planes = _spread(config)  # 12
        self.to_planes = _to_planes(base + half, base, len(PLANES) * config.plane_channels)  # 13

    def _conditional_block(self, config: Export3DConfig) -> Block:
        def norm() -> nn.Module:
            if config.conditioning == "eadaln":
                return EAdaLN(config.hidden, config.expression_width, config.sigma_form)
            return CrossAttentionNorm(config.hidden, config.expression_width, config.heads)

        return Block(
            (norm(), norm()),
            Attention(config.hidden, config.heads, self.low_side, reduction=1),
            MixFFN(config.hidden, config.mlp_ratio, self.low_side),
        )

    def encode(self, image_BCHW: Tensor) -> SourceTokens:
        """Return the tokens of an image in [-1, 1]: all that the expression cannot change."""
        if self.grid:
            image_BCHW = torch.cat((image_BCHW, _coordinates(image_BCHW)), dim=1)
        tokens_BNC = self.merge_source(self.stem(image_BCHW))
        detail_BCHW = None if self.detail is None else self.detail(image_BCHW)
        return SourceTokens(tokens_BNC, detail_BCHW)

    def decode(self, source: SourceTokens, condition_BMD: Tensor) -> Tensor:
        """Return raw planes_BPCHW of the source with the expression."""
        tokens_BNC = source.tokens_BNC
        for block in self.blocks:
            tokens_BNC = block(tokens_BNC, condition_BMD)
        small_BCHW = self.spread_source(tokens_to_map(tokens_BNC, self.low_side))
        large_BCHW = self.grow_more(self.grow(small_BCHW))
        fused_BCHW = large_BCHW
        if source.detail_BCHW is not None:
            fused_BCHW = torch.cat((large_BCHW, source.detail_BCHW), dim=1)
        refined_BNC = self.refine(self.merge_planes(self.fuse(fused_BCHW)))
        refined_BCHW = self.spread_planes(tokens_to_map(refined_BNC, self.high_side))
        flat_BCHW: Tensor = self.to_planes(torch.cat((refined_BCHW, large_BCHW), dim=1))
        side = flat_BCHW.shape[-1]
        return flat_BCHW.reshape(-1, len(PLANES), self.plane_channels, side, side)


class _Double(nn.Upsample):
    def __init__(self) -> None:
        super().__init__(scale_factor=2, mode="bilinear", align_corners=False)


def _act() -> nn.Module:
    return nn.LeakyReLU(0.2)


def _stem(inputs: int, base: int) -> nn.Sequential:
    quarter, half = base // 4, base // 2
    return nn.Sequential(
        convolution(inputs, quarter, 7, stride=2),
        _act(),
        ResidualBlock(quarter),
        convolution(quarter, half, stride=2),
        _act(),
        ResidualBlock(half),
        convolution(half, base, stride=2),
        _act(),
        ResidualBlock(base),
        ResidualBlock(base),
    )


def _spread(config: Export3DConfig) -> nn.Sequential:
    return nn.Sequential(nn.PixelShuffle(2), LowPass(config.blur, config.blur_sigma_px))


def _detail_branch(inputs: int, hidden: int) -> nn.Sequential:
    first, later = hidden // 16, 3 * hidden // 32
    layers: list[nn.Module] = [convolution(inputs, first, 7, stride=2), _act()]
    for channels in (first, later, later, later):
        layers += [convolution(channels, later), _act()]
    return nn.Sequential(*layers)


def _to_planes(inputs: int, base: int, outputs: int) -> nn.Sequential:
    half = base // 2
    last = convolution(half, outputs)
    nn.init.normal_(last.weight, std=LAST_CONVOLUTION_STD)
    return nn.Sequential(
        convolution(inputs, base),
        _act(),
        convolution(base, half),
        _act(),
        convolution(half, half),
        _act(),
        last,
    )


def _coordinates(image_BCHW: Tensor) -> Tensor:
    """Return grid_B2HW: x to the right and y downwards, -1 and 1 at the outermost pixel centres."""
    height, width = image_BCHW.shape[-2:]
    y_H = torch.linspace(-1, 1, height, device=image_BCHW.device, dtype=image_BCHW.dtype)
    x_W = torch.linspace(-1, 1, width, device=image_BCHW.device, dtype=image_BCHW.dtype)
    y_HW, x_HW = torch.meshgrid(y_H, x_W, indexing="ij")
    return torch.stack((x_HW, y_HW)).expand(len(image_BCHW), -1, -1, -1)
