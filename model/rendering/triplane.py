"""Lookup in three planes of features, and the decoder from features to colour and density.

Shape suffixes: B batch, P planes = 3 (xy, yz, zx), X = B x P, C channels, H, W, K points.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

PLANES = ("xy", "yz", "zx")
"""Order of the planes in a tensor (Export3D eq. 4)."""


def plane_features(planes_BPCHW: Tensor, points_BK3: Tensor, box_size: float) -> Tensor:
    """Return features_BPCK: what each plane holds at each point's projection.

    (column, row) are (x, -y) on xy, (z, -y) on yz and (x, -z) on zx, so that xy lies on a frontal
    image pixel by pixel; a plane spans [-box_size/2, box_size/2], bilinear, zero outside.
    Spec 2.4.6; three distinct planes, as in Export3D eq. 7.
    """
    x_BK, y_BK, z_BK = (points_BK3 * (2 / box_size)).unbind(dim=-1)
    columns_BPK = torch.stack((x_BK, z_BK, x_BK), dim=1)
    rows_BPK = torch.stack((-y_BK, -y_BK, -z_BK), dim=1)
    grid_BPK2 = torch.stack((columns_BPK, rows_BPK), dim=-1)
    features_XC1K = functional.grid_sample(
        planes_BPCHW.flatten(0, 1),
        grid_BPK2.flatten(0, 1).unsqueeze(1),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )
    batch, points = points_BK3.shape[:2]
    return features_XC1K.reshape(batch, len(PLANES), -1, points)


def sample_triplane(planes_BPCHW: Tensor, points_BK3: Tensor, box_size: float) -> Tensor:
    """Return features_BKC, the mean of the three planes' features (Export3D eq. 7)."""
    return plane_features(planes_BPCHW, points_BK3, box_size).mean(dim=1).transpose(1, 2)


class PointDecoder(nn.Module):
    """Features to colour and density: one shared layer, one layer for each (Export3D eq. 8)."""

    def __init__(self, channels: int, hidden: int, colours: int) -> None:
        super().__init__()
        self.shared = nn.Linear(channels, hidden)
        self.colour = nn.Linear(hidden, colours)
        self.density = nn.Linear(hidden, 1)
        for layer in (self.shared, self.colour, self.density):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)

    def forward(self, features_BKC: Tensor) -> tuple[Tensor, Tensor]:
        """Return colours_BKC in [-0.001, 1.001] and density_BK before its softplus. Spec 2.5."""
        hidden_BKC = functional.softplus(self.shared(features_BKC))
        # A little beyond [0, 1], so that pure black and white need no infinite activation.
        colours_BKC = torch.sigmoid(self.colour(hidden_BKC)) * 1.002 - 0.001
        return colours_BKC, self.density(hidden_BKC).squeeze(-1)
