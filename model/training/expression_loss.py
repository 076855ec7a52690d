"""How differently a network of landmarks reads the expression of two pictures of one face.

Not in the paper. A perceptual loss minds texture everywhere alike; here the face mesh of the
generated picture is compared with that of the film's, in the coefficients of a linear face model,
in which a lid or a lip that moves by little counts as much as a jaw that moves by a lot.

Shape suffixes: B batch, C, H, W picture, V vertices, K coefficients, D = 3 V, M = 7 motions of a
rigid body that may grow.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

_MESH_PX = 256
_ROI_SCALE = 1.5
"""Side of the square that the network looks at, as a multiple of the mesh's longer side."""
_MIRROR = (1.0, -1.0, -1.0)
"""From the picture's axes (y down, z away) to the face model's (y up, z toward the viewer)."""


@dataclass(frozen=True, eq=False)
class MeshReading:
    """What a mesh of V vertices means: the face model it is read by.

    readout_KD gives coefficients of offsets from mean_V3 (dm), the first `identities` of them of
    who it is; weight_V says how still each vertex is under expression; eyes are the outer corners,
    image-left first.
    """

    mean_V3: NDArray[np.float64]
    weight_V: NDArray[np.float64]
    readout_KD: NDArray[np.float64]
    eyes: tuple[int, int]
    identities: int


class ExpressionLoss(nn.Module):
    """Mean absolute difference of coefficients between the faces in two batches of pictures.

    `network` gives 3 V numbers for a 256 px picture in [0, 1] (x, y, z in its px) as its first
    output: model.training.tflite reads MediaPipe's. Both pictures are looked at through the same
    square, which the mesh of the target places; what differs by a turn, a shift or in size alone
    does not count, for that is pose's part, and the cameras answer for it.
    """

    def __init__(self, network: nn.Module, reading: MeshReading) -> None:
        super().__init__()
        # A quarter less time on a CPU, where most of the mesh network is depthwise.
        self._network = network.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._eyes, self._identities = list(reading.eyes), reading.identities
        weight_V = reading.weight_V / reading.weight_V.sum()
        for name, values in (
            ("mean_V3", reading.mean_V3 - weight_V @ reading.mean_V3),
            ("weight_V", weight_V),
            ("readout_KD", reading.readout_KD),
            ("mirror_3", np.array(_MIRROR)),
        ):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)

    def forward(
        self, image_BCHW: Tensor, target_BCHW: Tensor, *, same_person: bool = True
    ) -> Tensor:
        """Return the scalar loss of square images in [-1, 1]; gradients reach `image_BCHW` only.

        Of two persons only the expressions are compared.
        """
        # Under bfloat16 a point of the mesh would be a pixel wide.
        with torch.autocast(image_BCHW.device.type, enabled=False):
            with torch.no_grad():
                wanted_BCHW = _as_seen(target_BCHW)
                roi_B23 = self._roi(self._mesh(wanted_BCHW))
                wanted_BV3 = self._mesh(_crop(wanted_BCHW, roi_B23))
                turn_B33, shape_BV3 = self._register(wanted_BV3)
            got_BV3 = self._mesh(_crop(_as_seen(image_BCHW), roi_B23))
            change_BV3 = (got_BV3 - wanted_BV3) * self.get_buffer("mirror_3") @ turn_B33
            offset_BD = self._without_motion(change_BV3, shape_BV3).flatten(1)
            coefficients_BK: Tensor = offset_BD @ self.get_buffer("readout_KD").T
            compared = slice(0 if same_person else self._identities, None)
            return coefficients_BK[:, compared].abs().mean()

    def _mesh(self, picture_BCHW: Tensor) -> Tensor:
        picture_BCHW = picture_BCHW.contiguous(memory_format=torch.channels_last)
        mesh_BD: Tensor = self._network(picture_BCHW)[0]
        return mesh_BD.reshape(len(mesh_BD), -1, 3)

    def _roi(self, mesh_BV3: Tensor) -> Tensor:
        """Return the square about a mesh, eyes level, as `affine_grid` wants it."""
        low_B2, high_B2 = mesh_BV3[..., :2].amin(dim=1), mesh_BV3[..., :2].amax(dim=1)
        shift_B2 = (low_B2 + high_B2) / _MESH_PX - 1
        scale_B = _ROI_SCALE * (high_B2 - low_B2).amax(dim=1) / _MESH_PX
        left_B2, right_B2 = mesh_BV3[:, self._eyes, :2].unbind(dim=1)
        along_x_B, along_y_B = (right_B2 - left_B2).unbind(dim=1)
        roll_B = torch.atan2(along_y_B, along_x_B)
        cos_B, sin_B = scale_B * roll_B.cos(), scale_B * roll_B.sin()
        rows = (
            torch.stack([cos_B, -sin_B, shift_B2[:, 0]], dim=1),
            torch.stack([sin_B, cos_B, shift_B2[:, 1]], dim=1),
        )
        return torch.stack(rows, dim=1)

    def _register(self, mesh_BV3: Tensor) -> tuple[Tensor, Tensor]:
        """Lay meshes over the mean face by weighted Procrustes.

        Returns the turn with its scale in it (dm per px), turn_B33, and the mesh laid over.
        """
        weight_V1 = self.get_buffer("weight_V")[:, None]
        points_BV3 = mesh_BV3 * self.get_buffer("mirror_3")
        points_BV3 = points_BV3 - (weight_V1 * points_BV3).sum(dim=1, keepdim=True)
        cross_B33 = (weight_V1 * points_BV3).transpose(1, 2) @ self.get_buffer("mean_V3")
        left_B33, stretch_B3, right_B33 = torch.linalg.svd(cross_B33)
        sign_B = torch.linalg.det(left_B33 @ right_B33).sign()
        last_3 = torch.tensor([0.0, 0.0, 1.0], device=sign_B.device)
        proper_B3 = 1 + (sign_B[:, None] - 1) * last_3  # no mirror image
        size_B = (weight_V1 * points_BV3.square()).sum(dim=(1, 2))
        scale_B = (stretch_B3 * proper_B3).sum(dim=1) / size_B
        turn_B33 = (left_B33 * proper_B3[:, None]) @ right_B33 * scale_B[:, None, None]
        return turn_B33, points_BV3 @ turn_B33

    def _without_motion(self, change_BV3: Tensor, shape_BV3: Tensor) -> Tensor:
        """Take off what a small turn, a shift and growth of the shape explain (weighted)."""
        axes_33 = torch.eye(3, device=shape_BV3.device)
        shifts = [axis.expand_as(shape_BV3) for axis in axes_33]
        turns = [torch.linalg.cross(shift, shape_BV3) for shift in shifts]
        motion_BDM = torch.stack([*shifts, *turns, shape_BV3], dim=-1).flatten(1, 2)
        weighed_BMD = (
            motion_BDM * self.get_buffer("weight_V").repeat_interleave(3)[:, None]
        ).transpose(1, 2)
        share_BM1 = torch.linalg.solve(
            weighed_BMD @ motion_BDM, weighed_BMD @ change_BV3.flatten(1)[..., None]
        )
        motion_BV3: Tensor = (motion_BDM @ share_BM1).reshape(change_BV3.shape)
        return change_BV3 - motion_BV3


def _as_seen(image_BCHW: Tensor) -> Tensor:
    """Return images in [-1, 1] as the network takes them: 256 px, 0 to 1."""
    if image_BCHW.shape[-1] != _MESH_PX:
        image_BCHW = functional.interpolate(
            image_BCHW.float(), (_MESH_PX, _MESH_PX), mode="bicubic", align_corners=False
        )
    return (image_BCHW.float().clamp(-1, 1) + 1) / 2


def _crop(picture_BCHW: Tensor, roi_B23: Tensor) -> Tensor:
    grid_BHW2 = functional.affine_grid(roi_B23, list(picture_BCHW.shape), align_corners=False)
    return functional.grid_sample(
        picture_BCHW, grid_BHW2, mode="bilinear", padding_mode="border", align_corners=False
    )
