"""Cameras on a sphere around the head, for looking at one face from many sides (Spec 2.9).

Conventions and units are those of `model.geometry.camera`; every function takes any leading batch
dimensions, written `...`.
"""

import numpy as np

from model.geometry.camera import EG3D_RADIUS, Array, pack_label, rotation

PIVOT_EG3D = np.array([0.0, 0.0, 0.2])
"""What EG3D's cameras look at, in label units: a point inside the head, behind the nose."""
PIVOT_EXACT = np.array([0.0, 0.0, 0.039])
"""The same point for exact labels, whose origin lies 0.161 further forward (Spec 2.2.3): about
EG3D's number a face would swing by a tenth of the image at 25 degrees."""
_UP = np.array([0.0, 1.0, 0.0])


def orbit_label(yaw: Array, pitch: Array, intrinsics_33: Array, pivot_3: Array) -> Array:
    """Label [...,25] of a camera EG3D_RADIUS from the origin that looks at a pivot, without roll.

    Angles [...] in radians, and named after how the face appears: as it would in front of a still
    camera if the head turned by that yaw and pitch. At 0 the camera is the frontal one. Intrinsics
    [...,3,3] are in units of the image's side, the pivot [3] in label units.
    """
    yaw, pitch = np.broadcast_arrays(yaw, pitch)
    turned = rotation(np.stack([pitch, yaw, np.zeros_like(yaw)], axis=-1))
    centre = EG3D_RADIUS * turned[..., 2, :]  # where a still camera stands for the turned head
    ahead = _unit(pivot_3 - centre)
    right = _unit(np.cross(ahead, _UP))
    pose = np.zeros((*centre.shape[:-1], 4, 4))
    pose[..., :3, :3] = np.stack([right, np.cross(ahead, right), ahead], axis=-1)
    pose[..., :3, 3] = centre
    pose[..., 3, 3] = 1
    return pack_label(pose, np.broadcast_to(intrinsics_33, (*centre.shape[:-1], 3, 3)))


def _unit(vector: Array) -> Array:
    unit: Array = vector / np.linalg.norm(vector, axis=-1, keepdims=True)
    return unit
