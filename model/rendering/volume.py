"""Differentiable volume rendering of any field of colours and densities.

Shape suffixes: B batch, P planes, C channels, H, W, K points, R rays, S samples on a ray, I = S - 1
intervals between them. Depths are distances along the ray in units of the camera label.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from model.rendering.rays import box_range, camera_rays
from model.rendering.triplane import PointDecoder, sample_triplane

Field = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From points_BK3 to colours_BKC in [0, 1] and density_BK before its softplus."""

_PIECE_SAMPLES = 2**15
"""Samples whose features stay in the cache of a CPU's core."""


@dataclass(frozen=True)
class MarchSettings:
    """How a ray is sampled; the fields are those of Export3DConfig. Spec 2.5."""

    box_size: float
    depth_range: Literal["fixed", "auto"]
    near: float
    far: float
    samples_coarse: int
    samples_fine: int


@dataclass(frozen=True)
class VolumeImage:
    """What the rays gathered: features in [-1, 1] (the first three are red, green, blue), depth,
    and alpha, the share of the ray's light that the volume stopped.
    """

    feature_BCHW: Tensor
    depth_B1HW: Tensor
    alpha_B1HW: Tensor


def render(
    planes_BPCHW: Tensor,
    decoder: PointDecoder,
    camera_B25: Tensor,
    side_px: int,
    settings: MarchSettings,
    *,
    jitter: bool,
) -> VolumeImage:
    """Return the tri-plane as the camera sees it on side_px x side_px pixels.

    With `jitter` the samples are drawn at random in their bins, for training; without it the same
    input gives the same bytes.
    """
    # Channels that lie innermost (channels_last) make the lookup half as slow again on a CPU.
    planes_BPCHW = planes_BPCHW.contiguous()

    def field(points_BK3: Tensor) -> tuple[Tensor, Tensor]:
        features_BKC = sample_triplane(planes_BPCHW, points_BK3, settings.box_size)
        decoded: tuple[Tensor, Tensor] = decoder(features_BKC)
        return decoded

    def marched(origins_BR3: Tensor, directions_BR3: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return march(field, origins_BR3, directions_BR3, settings, jitter=jitter)

    rays = camera_rays(camera_B25, side_px)
    differentiated = jitter or torch.is_grad_enabled()
    if camera_B25.device.type == "cpu" and not differentiated:
        samples = max(settings.samples_coarse, settings.samples_fine)
        colour_BRC, depth_BR, alpha_BR = _in_pieces(marched, *rays, samples)
    else:
        colour_BRC, depth_BR, alpha_BR = marched(*rays)

    def image(values_BRC: Tensor) -> Tensor:
        batch, _, channels = values_BRC.shape
        return values_BRC.transpose(1, 2).reshape(batch, channels, side_px, side_px)

    return VolumeImage(
        feature_BCHW=image(2 * colour_BRC - 1),
        depth_B1HW=image(depth_BR.unsqueeze(-1)),
        alpha_B1HW=image(alpha_BR.unsqueeze(-1)),
    )


def march(
    field: Field,
    origins_BR3: Tensor,
    directions_BR3: Tensor,
    settings: MarchSettings,
    *,
    jitter: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return colour_BRC, depth_BR and alpha_BR gathered along the rays (Export3D eq. 9 and 10).

    Colours of a half-transparent ray are over black: the volume has no background.
    """

    def at(depth_BRS: Tensor) -> tuple[Tensor, Tensor]:
        points_BRS3 = origins_BR3.unsqueeze(2) + depth_BRS.unsqueeze(-1) * directions_BR3.unsqueeze(
            2
        )
        colours_BKC, density_BK = field(points_BRS3.flatten(1, 2))
        return colours_BKC.reshape(*depth_BRS.shape, -1), density_BK.reshape(depth_BRS.shape)

    near_BR, far_BR = _range(origins_BR3, directions_BR3, settings)
    fraction_BRS = _bin_places(near_BR, settings.samples_coarse, jitter)
    depth_BRS = near_BR.unsqueeze(-1) + fraction_BRS * (far_BR - near_BR).unsqueeze(-1)
    colours_BRSC, density_BRS = at(depth_BRS)
    if not settings.samples_fine:
        weights_BRI = interval_weights(depth_BRS, density_BRS)
        place_BRS = _sample_weights(weights_BRI)
    else:
        with torch.no_grad():
            fine_BRS = importance_depths(
                depth_BRS,
                interval_weights(depth_BRS, density_BRS),
                _bin_places(near_BR, settings.samples_fine, jitter),
            )
        fine_colours_BRSC, fine_density_BRS = at(fine_BRS)
        colours_BRSC = torch.cat((colours_BRSC, fine_colours_BRSC), dim=2)
        density_BRS = torch.cat((density_BRS, fine_density_BRS), dim=2)
        depth_BRS, order_BRS = torch.cat((depth_BRS, fine_BRS), dim=2).sort(dim=-1)
        weights_BRI = interval_weights(depth_BRS, density_BRS.gather(-1, order_BRS))
        # The weights go back to their samples, which is much less than sorting all colours.
        sorted_BRS = _sample_weights(weights_BRI)
        place_BRS = torch.zeros_like(sorted_BRS).scatter(-1, order_BRS, sorted_BRS)

    alpha_BR = weights_BRI.sum(dim=-1)
    middle_BRI = (depth_BRS[..., 1:] + depth_BRS[..., :-1]) / 2
    gathered_BR = (weights_BRI * middle_BRI).sum(dim=-1)
    last_BR = depth_BRS[..., -1]
    depth_BR = torch.where(alpha_BR > 1e-6, gathered_BR / alpha_BR.clamp_min(1e-6), last_BR)
    depth_BR = depth_BR.clamp(depth_BRS[..., 0], last_BR)
    colour_BRC = (place_BRS.unsqueeze(-2) @ colours_BRSC).squeeze(-2)
    return colour_BRC, depth_BR, alpha_BR


def _in_pieces(
    marched: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]],
    origins_BR3: Tensor,
    directions_BR3: Tensor,
    samples: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what `marched` gathers, some rays at a time: up to twice as fast.

    The pieces are alike, and a power of two of them: a matrix product of few rows, or of an odd
    number, rounds differently, so that the last bits of a picture would change.
    """
    batch, rays, _ = origins_BR3.shape
    needed = math.ceil(batch * rays * samples / _PIECE_SAMPLES)
    count = min(rays, 1 << (needed - 1).bit_length())
    splits = (
        torch.tensor_split(rays_BR3, count, dim=1) for rays_BR3 in (origins_BR3, directions_BR3)
    )
    pieces = [marched(*piece) for piece in zip(*splits, strict=True)]
    colour_BRC, depth_BR, alpha_BR = (torch.cat(parts, 1) for parts in zip(*pieces, strict=True))
    return colour_BRC, depth_BR, alpha_BR


def interval_weights(depth_BRS: Tensor, density_BRS: Tensor) -> Tensor:
    """Return weights_BRI: the share of light that each interval stops; their sum is at most 1.

    The density of an interval is softplus(mean of its ends' values - 1), the light that reaches it
    exp(-sum of density x length before it): Spec 2.5 without its guard of 1e-10, which the sum of
    exponents does not need.
    """
    density_BRI = functional.softplus((density_BRS[..., 1:] + density_BRS[..., :-1]) / 2 - 1)
    optical_BRI = density_BRI * (depth_BRS[..., 1:] - depth_BRS[..., :-1])
    before_BRI = functional.pad(optical_BRI.cumsum(dim=-1)[..., :-1], (1, 0))
    return torch.exp(-before_BRI) * -torch.expm1(-optical_BRI)


def importance_depths(depth_BRS: Tensor, weights_BRI: Tensor, places_BRN: Tensor) -> Tensor:
    """Return depths_BRN at places in [0, 1) of the distribution that the weights describe.

    The weights, spread to their neighbours (maximum, then mean, of pairs) and lifted by 0.01 so
    that no interval is closed, are the probability of each interval between samples. Spec 2.5.
    """
    padded_BRS = functional.pad(weights_BRI, (1, 1))
    highest_BRS = torch.maximum(padded_BRS[..., 1:], padded_BRS[..., :-1])
    spread_BRI = (highest_BRS[..., 1:] + highest_BRS[..., :-1]) / 2 + 0.01
    rising_BRI = spread_BRI.cumsum(dim=-1)
    total_BR1 = rising_BRI[..., -1:]
    target_BRN = places_BRN * total_BR1
    last = weights_BRI.shape[-1] - 1
    found_BRN = torch.searchsorted(rising_BRI, target_BRN.contiguous(), right=True)
    found_BRN = found_BRN.clamp_max(last)
    height_BRN = spread_BRI.gather(-1, found_BRN)
    inside_BRN = (target_BRN - rising_BRI.gather(-1, found_BRN)) / height_BRN + 1
    start_BRN = depth_BRS.gather(-1, found_BRN)
    length_BRN = depth_BRS.gather(-1, found_BRN + 1) - start_BRN
    return start_BRN + inside_BRN.clamp(0, 1) * length_BRN


def _range(
    origins_BR3: Tensor, directions_BR3: Tensor, settings: MarchSettings
) -> tuple[Tensor, Tensor]:
    if settings.depth_range == "auto":
        return box_range(origins_BR3, directions_BR3, settings.box_size)
    flat_BR = torch.ones_like(directions_BR3[..., 0])
    return flat_BR * settings.near, flat_BR * settings.far


def _bin_places(like_BR: Tensor, bins: int, jitter: bool) -> Tensor:
    """Return places_BRN in [0, 1): one in each of `bins` equal parts, its middle or anywhere."""
    start_N = torch.arange(bins, device=like_BR.device, dtype=like_BR.dtype)
    if jitter:
        within_BRN = torch.rand(*like_BR.shape, bins, device=like_BR.device, dtype=like_BR.dtype)
        return (start_N + within_BRN) / bins
    return ((start_N + 0.5) / bins).expand(*like_BR.shape, bins)


def _sample_weights(weights_BRI: Tensor) -> Tensor:
    """Return weights_BRS: an interval's colour is the mean of its ends', so each gets a half."""
    half_BRI = weights_BRI / 2
    return functional.pad(half_BRI, (0, 1)) + functional.pad(half_BRI, (1, 0))
