"""Blocks of the tri-plane generator: patch merge, conditional norms, attention, Mix-FFN.

Shape suffixes: B batch, N tokens (row by row of a square), C channels, H, W, M condition vectors,
D length of a condition vector.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

LN_EPS = 1e-6


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear layer with truncated normal weights of deviation 0.02 (Spec 2.4.3)."""
    layer = nn.Linear(inputs, outputs)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer


def convolution(
    inputs: int, outputs: int, side: int = 3, *, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    """Return a convolution with weights of deviation sqrt(2 / fan out) (Spec 2.4.3).

    It is centred on its pixels, unless its patches do not overlap.
    """
    padding = 0 if side == stride else (side - 1) // 2
    layer = nn.Conv2d(inputs, outputs, side, stride, padding, groups=groups)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    fan_out = side * side * outputs // groups
    nn.init.normal_(layer.weight, std=(2 / fan_out) ** 0.5)
    return layer


def tokens_to_map(tokens_BNC: Tensor, side: int) -> Tensor:
    """Return the tokens laid out as map_BCHW of side x side."""
    batch, _, channels = tokens_BNC.shape
    return tokens_BNC.transpose(1, 2).reshape(batch, channels, side, side)


def map_to_tokens(map_BCHW: Tensor) -> Tensor:
    """Return the places of a map as tokens_BNC."""
    return map_BCHW.flatten(2).transpose(1, 2)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around which the input is added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution(channels, channels)
        self.second = convolution(channels, channels)

    def forward(self, feature_BCHW: Tensor) -> Tensor:
        """Return feature_BCHW of the same shape."""
        inside_BCHW = functional.leaky_relu(self.first(feature_BCHW), 0.2)
        return functional.leaky_relu(feature_BCHW + self.second(inside_BCHW), 0.2)


class OverlapPatchMerge(nn.Module):
    """A map becomes a quarter as many tokens: 3x3 convolution of stride 2, then layer norm."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.merge = convolution(channels, hidden, stride=2)
        self.norm = nn.LayerNorm(hidden, eps=LN_EPS)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Return tokens_BNC."""
        tokens_BNC: Tensor = self.norm(map_to_tokens(self.merge(map_BCHW)))
        return tokens_BNC


class EAdaLN(nn.Module):
    """Expression adaptive layer norm: sigma(b') x LN(x) + mu(b') (Export3D eq. 5).

    Starts as the plain layer norm: the maps from b' begin at 0 and sigma at 1, either as a bias or
    as a constant (`form`; Spec 2.4.4, register A6).
    """

    def __init__(
        self, hidden: int, condition: int, form: Literal["bias_one", "one_plus"] = "bias_one"
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden, eps=LN_EPS, elementwise_affine=False)
        self.modulation = nn.Linear(condition, 2 * hidden)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.offset = 1.0 if form == "one_plus" else 0.0
        with torch.no_grad():
            self.modulation.bias[:hidden] = 1.0 - self.offset

    def forward(self, tokens_BNC: Tensor, condition_BMD: Tensor) -> Tensor:
        """Return modulated tokens_BNC; every token gets the same scale and shift. M must be 1."""
        sigma_B1C, mu_B1C = self.modulation(condition_BMD).chunk(2, dim=-1)
        normed_BNC: Tensor = self.norm(tokens_BNC)
        modulated_BNC: Tensor = (sigma_B1C + self.offset) * normed_BNC + mu_B1C
        return modulated_BNC


class CrossAttentionNorm(nn.Module):
    """The ablation in EAdaLN's place: LN(x) plus its attention to the condition's M vectors.

    Starts as the plain layer norm, since its last layer begins at 0. Spec 2.9.
    """

    def __init__(self, hidden: int, condition: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(hidden, eps=LN_EPS, elementwise_affine=False)
        self.query = linear(hidden, hidden)
        self.key_value = linear(condition, 2 * hidden)
        self.out = linear(hidden, hidden)
        nn.init.zeros_(self.out.weight)

    def forward(self, tokens_BNC: Tensor, condition_BMD: Tensor) -> Tensor:
        """Return conditioned tokens_BNC."""
        normed_BNC: Tensor = self.norm(tokens_BNC)
        key_BMC, value_BMC = self.key_value(condition_BMD).chunk(2, dim=-1)
        seen_BNC: Tensor = self.out(_attend(self.query(normed_BNC), key_BMC, value_BMC, self.heads))
        return normed_BNC + seen_BNC


class Attention(nn.Module):
    """Multi-head self-attention; keys and values may come from merged patches (SegFormer)."""

    def __init__(self, hidden: int, heads: int, side: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.side = side
        self.query = linear(hidden, hidden)
        self.key_value = linear(hidden, 2 * hidden)
        self.out = linear(hidden, hidden)
        self.reduce: nn.Conv2d | None = None
        if reduction > 1:
            self.reduce = convolution(hidden, hidden, reduction, stride=reduction)
            self.reduced_norm = nn.LayerNorm(hidden, eps=LN_EPS)

    def forward(self, tokens_BNC: Tensor) -> Tensor:
        """Return tokens_BNC of the same shape."""
        source_BNC = tokens_BNC
        if self.reduce is not None:
            merged = self.reduce(tokens_to_map(tokens_BNC, self.side))
            source_BNC = self.reduced_norm(map_to_tokens(merged))
        key_BNC, value_BNC = self.key_value(source_BNC).chunk(2, dim=-1)
        seen_BNC = _attend(self.query(tokens_BNC), key_BNC, value_BNC, self.heads)
        out_BNC: Tensor = self.out(seen_BNC)
        return out_BNC


class MixFFN(nn.Module):
    """Feed-forward network with a depth-wise 3x3 convolution inside, which tells places apart."""

    def __init__(self, hidden: int, ratio: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.wide = linear(hidden, ratio * hidden)
        self.mix = convolution(ratio * hidden, ratio * hidden, groups=ratio * hidden)
        self.narrow = linear(ratio * hidden, hidden)

    def forward(self, tokens_BNC: Tensor) -> Tensor:
        """Return tokens_BNC of the same shape."""
        mixed = self.mix(tokens_to_map(self.wide(tokens_BNC), self.side))
        out_BNC: Tensor = self.narrow(functional.gelu(map_to_tokens(mixed)))
        return out_BNC


class Block(nn.Module):
    """x + MSA(norm(x)), then x + MixFFN(norm(x)): ViT, or EAdaLN-ViT with conditional norms."""

    def __init__(
        self, norms: tuple[nn.Module, nn.Module], attention: Attention, ffn: MixFFN
    ) -> None:
        super().__init__()
        self.norm_attention, self.norm_ffn = norms
        self.attention = attention
        self.ffn = ffn

    def forward(self, tokens_BNC: Tensor, condition_BMD: Tensor | None = None) -> Tensor:
        """Return tokens_BNC of the same shape; conditional norms need the condition."""
        condition = () if condition_BMD is None else (condition_BMD,)
        seen_BNC: Tensor = self.attention(self.norm_attention(tokens_BNC, *condition))
        tokens_BNC = tokens_BNC + seen_BNC
        mixed_BNC: Tensor = self.ffn(self.norm_ffn(tokens_BNC, *condition))
        return tokens_BNC + mixed_BNC


def _attend(query_BNC: Tensor, key_BMC: Tensor, value_BMC: Tensor, heads: int) -> Tensor:
    def split(tokens_BNC: Tensor) -> Tensor:
        batch, count, width = tokens_BNC.shape
        return tokens_BNC.reshape(batch, count, heads, width // heads).transpose(1, 2)

    seen: Tensor = functional.scaled_dot_product_attention(
        split(query_BNC), split(key_BMC), split(value_BMC)
    )
    return seen.transpose(1, 2).flatten(2)
