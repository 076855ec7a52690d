"""Picture of what a generator can do: source | driving | generated | raw | depth, row by row.

Shape suffixes: B batch, C channels, H height, W width.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model.training.data import to_bytes


def sample_grid(
    source_BCHW: Tensor,
    driving_BCHW: Tensor,
    image_BCHW: Tensor,
    raw_BCHW: Tensor,
    depth_B1HW: Tensor,
) -> NDArray[np.uint8]:
    """Return uint8 [B x side, 5 x side, 3]; near is bright in the depth column."""
    side = image_BCHW.shape[-1]
    near = depth_B1HW.amin(dim=(2, 3), keepdim=True)
    far = depth_B1HW.amax(dim=(2, 3), keepdim=True)
    bright = 1 - 2 * (depth_B1HW - near) / (far - near).clamp_min(1e-6)
    columns = [
        source_BCHW,
        driving_BCHW,
        image_BCHW,
        functional.interpolate(raw_BCHW, size=(side, side)),
        functional.interpolate(bright.expand(-1, 3, -1, -1), size=(side, side)),
    ]
    rows = np.concatenate([to_bytes(column) for column in columns], axis=2)
    return rows.reshape(-1, rows.shape[2], 3)
