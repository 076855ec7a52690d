"""Where the iBUG 68 points and the five alignment points lie on MediaPipe's 478-point mesh.

The table is a correspondence by anatomy: for each iBUG point the mesh vertex at the same place of
the face (corner of the eye, alar base, Cupid's bow ...), chosen on the canonical mesh and checked
by eye on faces. Along the jaw, where only the contour is defined, vertices were taken at near equal
arc length from ear to chin. Order: iBUG, image-left first.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

MESH_POINTS = 478

_JAW = (127, 234, 132, 58, 172, 136, 149, 176, 152, 400, 378, 365, 397, 288, 361, 454, 356)
_BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
_NOSE = (168, 197, 5, 1, 98, 97, 2, 326, 327)
_EYES = (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
_OUTER_LIPS = (61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91)
_INNER_LIPS = (78, 81, 13, 311, 308, 402, 14, 178)

IBUG68_INDEX: npt.NDArray[np.int64] = np.array(
    _JAW + _BROWS + _NOSE + _EYES + _OUTER_LIPS + _INNER_LIPS
)
# Spec 2.2.1 takes an eye as the mean of its points 37 and 40 (or 43 and 46, counted from 1), which
# are its corners; irises 468 and 473 would follow the gaze.
EYE_CORNERS = ((33, 133), (362, 263))
_NOSE_TIP = 1
_MOUTH_CORNERS = (61, 291)


def five_points(mesh_VD: Array) -> Array:
    """Image-left eye, image-right eye, nose tip, mouth corners [...,5,D] of meshes [...,478,D]."""
    eyes = [mesh_VD[..., list(corners), :].mean(axis=-2) for corners in EYE_CORNERS]
    rest = [mesh_VD[..., vertex, :] for vertex in (_NOSE_TIP, *_MOUTH_CORNERS)]
    return np.stack([*eyes, *rest], axis=-2)


def ibug68(mesh_VD: Array) -> Array:
    """Points of the iBUG scheme [...,68,D] of meshes [...,478,D]."""
    return mesh_VD[..., IBUG68_INDEX, :]


def eye_distance(mesh_VD: Array) -> Array:
    """Inter-ocular distance [...]: between the two eye points of `five_points`."""
    points = five_points(mesh_VD)
    distance: Array = np.linalg.norm(points[..., 0, :] - points[..., 1, :], axis=-1)
    return distance
