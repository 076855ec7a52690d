"""From mesh landmarks in a film to points in space under the extractor's camera (Spec 2.2.1-2.2.3).

Mesh networks give x, y in the picture and z as under weak perspective: on the scale that x has at
the depth of the face's middle. A real camera shows what is nearer larger; that is undone here.

Axes: x right in the image, y up, z toward the viewer, decimetres. Shapes: T frames, V vertices.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.geometry.camera import DISTANCE_DM, EXTRACTOR_PX_PER_DM, FOCAL_PX
from preprocess.crop import Alignment

Array = npt.NDArray[np.float64]

_ROUNDS = 3  # depth from size, size from depth; settles to 1e-4 dm in two


@dataclass(frozen=True, eq=False)
class Registration:
    """Meshes laid over a target.

    shape_TV3 in the target's frame, rotation_T33 from there to the camera.
    """

    shape_TV3: Array
    rotation_T33: Array


def weak_perspective(meshes_TV3: Array, alignment: Alignment) -> Array:
    """Film px [T,V,3] to decimetres as seen at the extractor's distance, about the alignment's."""
    offset_TV3 = meshes_TV3.copy()
    offset_TV3[..., :2] -= alignment.origin_T2[:, None]
    dm_per_px_T = EXTRACTOR_PX_PER_DM * DISTANCE_DM / (FOCAL_PX * alignment.scale_T)
    return offset_TV3 * dm_per_px_T[:, None, None] * [1.0, -1.0, -1.0]


def register(weak_TV3: Array, target: Array, weight_V: Array) -> Registration:
    """Lay meshes over a target [V,3] or [T,V,3] by weighted Procrustes, perspective undone.

    The face's distance is chosen so that it has the target's size: under a pinhole a larger face
    farther away looks the same, and the target fixes which it is.
    """
    weight_V1 = (weight_V / weight_V.sum())[:, None]
    target_mean = (weight_V1 * target).sum(axis=-2, keepdims=True)
    depth_T = np.full(len(weak_TV3), DISTANCE_DM) - target_mean[..., 0, 2]
    for _ in range(_ROUNDS):
        points_TV3 = _unproject(weak_TV3, depth_T)
        points_TV3 -= (weight_V1 * points_TV3).sum(axis=-2, keepdims=True)
        cross_T33 = np.swapaxes(weight_V1 * points_TV3, -1, -2) @ (target - target_mean)
        left, stretch, right = np.linalg.svd(cross_T33)
        stretch[:, 2] *= np.sign(np.linalg.det(left @ right))
        left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]
        size_T = (weight_V1 * points_TV3**2).sum(axis=(-1, -2))
        depth_T = depth_T * stretch.sum(axis=-1) / size_T
    rotation_T33 = left @ right
    return Registration(points_TV3 @ rotation_T33 + target_mean, rotation_T33)


def solve_translation(turned_TV3: Array, weak_TV3: Array) -> Array:
    """Translations [T,3] that bring rotated vertices onto their image points.

    Linear in t: focal (X + t)_xy = u (10 - (X + t)_z) for every vertex, least squares in px.
    """
    image_TV2 = weak_TV3[..., :2] * (FOCAL_PX / DISTANCE_DM)
    design = np.zeros((*image_TV2.shape, 3))
    design[..., 0, 0] = design[..., 1, 1] = FOCAL_PX
    design[..., 2] = image_TV2
    wanted = image_TV2 * (DISTANCE_DM - turned_TV3[..., 2:]) - FOCAL_PX * turned_TV3[..., :2]
    design = design.reshape(len(design), -1, 3)
    normal = np.swapaxes(design, -1, -2) @ design
    right = np.swapaxes(design, -1, -2) @ wanted.reshape(len(wanted), -1, 1)
    solved: Array = np.linalg.solve(normal, right)[..., 0]
    return solved


def _unproject(weak_TV3: Array, depth_T: Array) -> Array:
    """Points in camera axes of a face whose middle is `depth_T` decimetres away."""
    zoom_T1 = (depth_T / DISTANCE_DM)[:, None]
    relief_TV = (weak_TV3[..., 2] - weak_TV3[..., 2].mean(axis=-1, keepdims=True)) * zoom_T1
    depth_TV = depth_T[:, None] - relief_TV
    plane_TV2 = weak_TV3[..., :2] * (depth_TV / DISTANCE_DM)[..., None]
    return np.concatenate([plane_TV2, relief_TV[..., None]], axis=-1)
