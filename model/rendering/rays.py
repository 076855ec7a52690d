"""Rays of a pinhole camera given as a 25-number label.

Shape suffixes: B batch, R rays (row by row, R = side x side), 25 camera label: row-major 4x4
camera-to-world (x right, y down, z forward; world x right, y up, z toward the viewer), then
row-major 3x3 intrinsics in units of the image's side.
"""

import torch
from torch import Tensor


def camera_rays(camera_B25: Tensor, side_px: int) -> tuple[Tensor, Tensor]:
    """Return origins_BR3 and unit directions_BR3 through the centres of side_px x side_px pixels.

    The pixel in row i and column j is seen at ((j + 0.5) / side, (i + 0.5) / side). Spec 2.5.
    Raises ValueError for a label of another shape.
    """
    if camera_B25.ndim != 2 or camera_B25.shape[1] != 25:
        raise ValueError(f"a camera label is [B, 25], not {list(camera_B25.shape)}")
    pose_B44 = camera_B25[:, :16].reshape(-1, 4, 4)
    intrinsics_B33 = camera_B25[:, 16:].reshape(-1, 3, 3)
    centre_W = (torch.arange(side_px, device=camera_B25.device) + 0.5).to(camera_B25) / side_px
    v_HW, u_HW = torch.meshgrid(centre_W, centre_W, indexing="ij")
    x_BR = (u_HW.reshape(1, -1) - intrinsics_B33[:, 0, 2, None]) / intrinsics_B33[:, 0, 0, None]
    y_BR = (v_HW.reshape(1, -1) - intrinsics_B33[:, 1, 2, None]) / intrinsics_B33[:, 1, 1, None]
    local_BR3 = torch.stack((x_BR, y_BR, torch.ones_like(x_BR)), dim=-1)
    # Written out, not as a matrix product: every ray's bits must not depend on its neighbours.
    turned_BR3 = (local_BR3.unsqueeze(-2) * pose_B44[:, None, :3, :3]).sum(dim=-1)
    directions_BR3 = turned_BR3 / turned_BR3.norm(dim=-1, keepdim=True)
    origins_BR3 = pose_B44[:, None, :3, 3].expand_as(directions_BR3)
    return origins_BR3, directions_BR3


def box_range(
    origins_BR3: Tensor, directions_BR3: Tensor, box_size: float
) -> tuple[Tensor, Tensor]:
    """Return near_BR and far_BR, where each ray enters and leaves the cube around the origin.

    A ray that misses the cube gets near = far, its nearest approach, and so gathers nothing.
    """
    tiny = 1e-9
    slope_BR3 = torch.where(directions_BR3.abs() < tiny, tiny, directions_BR3)
    half = box_size / 2
    first_BR3 = (-half - origins_BR3) / slope_BR3
    second_BR3 = (half - origins_BR3) / slope_BR3
    near_BR = torch.minimum(first_BR3, second_BR3).amax(dim=-1).clamp_min(0.0)
    far_BR = torch.maximum(first_BR3, second_BR3).amin(dim=-1)
    closest_BR = -(origins_BR3 * directions_BR3).sum(dim=-1).clamp_max(0.0)
    hits_BR = far_BR > near_BR
    return torch.where(hits_BR, near_BR, closest_BR), torch.where(hits_BR, far_BR, closest_BR)
