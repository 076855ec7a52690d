"""The Basel face as Deep3DFaceRecon uses it: shape, albedo, light, projection (Spec 2.2.1).

In torch, so that a loss can reach the coefficients through every step. Face axes are those of
`camera`: decimetres, x right in a frontal image, y up, z toward the viewer.

Shapes: B faces, V vertices, F triangles, K most triangles about one vertex, L = 68 landmarks;
coefficients I = 80 identity, E = 64 expression, X = 80 texture, G = 27 light, C = 257 in all.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.geometry.camera import DISTANCE_DM, FOCAL_PX
from model.geometry.morphable import FaceWidths

WIDTHS = FaceWidths("bfm", identity=80, expression=64, texture=80, gamma=27)
LANDMARKS = 68
COEFFICIENTS = 257
_GROUPS = [WIDTHS.identity, WIDTHS.expression, WIDTHS.texture, 3, WIDTHS.gamma, 3]
_AMBIENT = 0.8  # added to the constant band: coefficients of 0 mean even grey light

# Strength of each degree of light on a matt surface as published, times the norm of its harmonics.
_DEGREE_0 = math.pi / math.sqrt(4 * math.pi)
_DEGREE_1 = 2 * math.pi / math.sqrt(3) * math.sqrt(3) / math.sqrt(4 * math.pi)
_DEGREE_2 = 2 * math.pi / math.sqrt(8) * 3 * math.sqrt(5) / math.sqrt(12 * math.pi)


class FaceCoefficients(NamedTuple):
    """The six groups of the network's 257 numbers; angles are pitch, yaw, roll in radians."""

    identity_BI: Tensor
    expression_BE: Tensor
    texture_BX: Tensor
    angles_B3: Tensor
    gamma_BG: Tensor
    translation_B3: Tensor


class FaceView(NamedTuple):
    """A face before the extractor's camera.

    points_BV3 are turned and moved, in decimetres; the camera stands at z = 10. pixels_BV2 lie on
    its 224 px crop relative to the crop's centre, y down. colour_BV3 is lit RGB, 0 to 1 where the
    light is not too bright; normals_BV3 are turned too.
    """

    points_BV3: Tensor
    pixels_BV2: Tensor
    normals_BV3: Tensor
    colour_BV3: Tensor


def split(coefficients_BC: Tensor) -> FaceCoefficients:
    """Cut [B,257] into its groups; ValueError for another width."""
    if coefficients_BC.shape[-1] != COEFFICIENTS:
        raise ValueError(
            f"{coefficients_BC.shape[-1]} coefficients a face were given; the model has 257"
        )
    return FaceCoefficients(*torch.split(coefficients_BC, _GROUPS, dim=-1))


class BfmFace(nn.Module):
    """Bases of shape and albedo, and the triangles.

    Its tensors move with the module but enter no state dict: the model's licence does not allow
    them to travel inside our checkpoints. Albedo and texture have 1 for white; triangles are
    counter-clockwise from outside; vertices are counted from 0.
    """

    mean_V3: Tensor
    identity_IV3: Tensor
    expression_EV3: Tensor
    albedo_V3: Tensor
    texture_XV3: Tensor
    triangles_F3: Tensor
    landmarks_L: Tensor
    around_VK: Tensor

    def __init__(
        self,
        *,
        mean_V3: Tensor,
        identity_IV3: Tensor,
        expression_EV3: Tensor,
        albedo_V3: Tensor,
        texture_XV3: Tensor,
        triangles_F3: Tensor,
        landmarks_L: Tensor,
    ) -> None:
        super().__init__()
        tensors = {
            "mean_V3": mean_V3,
            "identity_IV3": identity_IV3,
            "expression_EV3": expression_EV3,
            "albedo_V3": albedo_V3,
            "texture_XV3": texture_XV3,
            "triangles_F3": triangles_F3,
            "landmarks_L": landmarks_L,
            "around_VK": triangles_around(triangles_F3, len(mean_V3)),
        }
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor, persistent=False)

    def shape(self, identity_BI: Tensor, expression_BE: Tensor) -> Tensor:
        """Vertices [B,V,3] before any pose."""
        own_BV3 = _combine(identity_BI, self.identity_IV3)
        return self.mean_V3 + own_BV3 + _combine(expression_BE, self.expression_EV3)

    def albedo(self, texture_BX: Tensor) -> Tensor:
        """RGB [B,V,3] under even white light."""
        return self.albedo_V3 + _combine(texture_BX, self.texture_XV3)

    def normals(self, points_BV3: Tensor) -> Tensor:
        """Outward unit normals [B,V,3]: the mean of the unit normals of the triangles about each.

        Zero where a vertex has no triangle.
        """
        first, second, third = (points_BV3[:, corner] for corner in self.triangles_F3.unbind(dim=1))
        faces_BF3 = torch.linalg.cross(second - first, third - first)
        faces_BF3 = functional.normalize(faces_BF3, dim=-1)
        padded = functional.pad(faces_BF3, (0, 0, 0, 1))  # what `around_VK` calls none
        return functional.normalize(padded[:, self.around_VK].sum(dim=2), dim=-1)

    def forward(self, coefficients_BC: Tensor) -> FaceView:
        """Show faces [B,257] to the extractor's camera."""
        groups = split(coefficients_BC)
        shape_BV3 = self.shape(groups.identity_BI, groups.expression_BE)
        turn_B33 = rotation(groups.angles_B3).mT  # points are rows
        points_BV3 = shape_BV3 @ turn_B33 + groups.translation_B3[:, None]
        normals_BV3 = self.normals(shape_BV3) @ turn_B33
        colour_BV3 = self.albedo(groups.texture_BX) * light(normals_BV3, groups.gamma_BG)
        return FaceView(points_BV3, project(points_BV3), normals_BV3, colour_BV3)


def triangles_around(triangles_F3: Tensor, vertices: int) -> Tensor:
    """Indices [V,K] of the triangles about each vertex, in order, filled up with F."""
    corners = triangles_F3.reshape(-1)
    order = torch.argsort(corners, stable=True)
    counts_V = torch.bincount(corners, minlength=vertices)
    first_V = counts_V.cumsum(0) - counts_V
    vertex = corners[order]
    place = torch.arange(len(order), device=order.device) - first_V[vertex]
    around_VK = order.new_full((vertices, int(counts_V.max())), len(triangles_F3))
    around_VK[vertex, place] = order // 3
    return around_VK


def light(normals_BV3: Tensor, gamma_BG: Tensor) -> Tensor:
    """RGB light [B,V,3] that falls on unit normals; gamma is red's nine bands, green's, blue's."""
    gamma_B39 = gamma_BG.reshape(-1, 3, 9)
    return bands(normals_BV3) @ gamma_B39.mT + _AMBIENT * _DEGREE_0


def bands(normals_BV3: Tensor) -> Tensor:
    """Nine real spherical harmonics [B,V,9] of unit normals, each times its degree's strength.

    In the order of degree, then of -degree to degree; odd orders keep the minus sign of Condon and
    Shortley.
    """
    x, y, z = normals_BV3.unbind(dim=-1)
    nine = [
        torch.full_like(x, _DEGREE_0),
        -_DEGREE_1 * y,
        _DEGREE_1 * z,
        -_DEGREE_1 * x,
        _DEGREE_2 * x * y,
        -_DEGREE_2 * y * z,
        _DEGREE_2 / (2 * math.sqrt(3)) * (3 * z**2 - 1),
        -_DEGREE_2 * x * z,
        _DEGREE_2 / 2 * (x**2 - y**2),
    ]
    return torch.stack(nine, dim=-1)


def rotation(angles_B3: Tensor) -> Tensor:
    """Rz Ry Rx [B,3,3] of (pitch, yaw, roll); as `camera.rotation`, with a gradient."""
    pitch, yaw, roll = (_about(axis, angles_B3[:, axis]) for axis in range(3))
    return roll @ yaw @ pitch


def project(points_BV3: Tensor) -> Tensor:
    """Turned and moved points to px [B,V,2] of the 224 px crop about its centre, y down."""
    per_depth = FOCAL_PX / (DISTANCE_DM - points_BV3[..., 2:])
    return per_depth * torch.stack([points_BV3[..., 0], -points_BV3[..., 1]], dim=-1)


def _combine(weights_BN: Tensor, basis_NV3: Tensor) -> Tensor:
    return (weights_BN @ basis_NV3.flatten(1)).reshape(-1, *basis_NV3.shape[1:])


def _about(axis: int, angle_B: Tensor) -> Tensor:
    """Right-handed rotations [B,3,3] about one axis."""
    after, last = (axis + 1) % 3, (axis + 2) % 3
    turn_B33 = torch.eye(3, dtype=angle_B.dtype, device=angle_B.device).repeat(len(angle_B), 1, 1)
    cos_B, sin_B = angle_B.cos(), angle_B.sin()
    turn_B33[:, after, after] = turn_B33[:, last, last] = cos_B
    turn_B33[:, after, last], turn_B33[:, last, after] = -sin_B, sin_B
    return turn_B33
