"""Camera labels of EG3D's kind for face crops, in numpy float64 (Spec 2.2).

The face frame is in decimetres: x right in a frontal image, y up, z toward the viewer. The world
of a label is the face frame times 0.27. Image coordinates have y down. Every function takes any
leading batch dimensions, written `...`; V counts points.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

FOCAL_PX = 1015.0  # the coefficient extractor's pinhole on its 224 px crop (Spec 2.2.1)
DISTANCE_DM = 10.0
EXTRACTOR_PX_PER_DM = 102.0  # what its alignment scales a decimetre to
WORLD_PER_DM = 0.27
EG3D_FOCAL = 4.2647  # normalised by the side of the crop (Spec 2.2.3)
EG3D_RADIUS = 2.7
_EG3D_OFFSET = np.array([0.0, 0.006, 0.161])
_FLIP_YZ = np.array([1.0, -1.0, -1.0])  # face axes (y up, z to the viewer) to OpenCV's


def rotation(angles: Array) -> Array:
    """M = Rz Ry Rx [...,3,3] of (pitch, yaw, roll) [...,3] in radians (Spec 2.2.3).

    Positive pitch turns the nose down, positive yaw to image right, positive roll turns the face
    counter-clockwise in the image.
    """
    (cx, cy, cz), (sx, sy, sz) = (np.moveaxis(f(angles), -1, 0) for f in (np.cos, np.sin))
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def angles_of(rotation_33: Array) -> Array:
    """(pitch, yaw, roll) [...,3] of rotations [...,3,3]; undoes `rotation` below 90 degrees yaw."""
    pitch = np.arctan2(rotation_33[..., 2, 1], rotation_33[..., 2, 2])
    yaw = np.arcsin(np.clip(-rotation_33[..., 2, 0], -1, 1))
    roll = np.arctan2(rotation_33[..., 1, 0], rotation_33[..., 0, 0])
    return np.stack([pitch, yaw, roll], axis=-1)


def project_extractor(points_V3: Array, angles: Array, translation: Array) -> Array:
    """Project face points [...,V,3] with the extractor's camera (Spec 2.2.3).

    Returns [...,V,2] in px of its 224 px crop relative to the crop's centre, y down.
    """
    turned = points_V3 @ np.swapaxes(rotation(angles), -1, -2) + translation[..., None, :]
    per_depth = FOCAL_PX / (DISTANCE_DM - turned[..., 2:])
    return per_depth * turned[..., :2] * [1.0, -1.0]


def project_film(
    points_V3: Array, angles: Array, translation: Array, origin_px: Array, scale_px: Array
) -> Array:
    """Project as the extractor does and place the result in the film frame, [...,V,2] px.

    origin_px [...,2] and scale_px [...] (px per decimetre) are the alignment of Spec 2.2.2.
    """
    film_per_crop = scale_px[..., None, None] / EXTRACTOR_PX_PER_DM
    offset = project_extractor(points_V3, angles, translation) * film_per_crop
    return origin_px[..., None, :] + offset


def pack_label(pose_44: Array, intrinsics_33: Array) -> Array:
    """Label [...,25]: camera-to-world 4x4 row-major, then normalised intrinsics 3x3 row-major."""
    batch = pose_44.shape[:-2]
    return np.concatenate([pose_44.reshape(*batch, 16), intrinsics_33.reshape(*batch, 9)], axis=-1)


def unpack_label(label: Array) -> tuple[Array, Array]:
    """Camera-to-world [...,4,4] and intrinsics [...,3,3] of labels [...,25]."""
    batch = label.shape[:-1]
    return label[..., :16].reshape(*batch, 4, 4), label[..., 16:].reshape(*batch, 3, 3)


def label_exact(
    angles: Array,
    translation: Array,
    *,
    origin_px: Array,
    scale_px: Array,
    box_centre_px: Array,
    box_side_px: Array,
) -> Array:
    """Camera [...,25] of any square crop, exact to the extractor's projection (Spec 2.2.4).

    origin_px and scale_px are the alignment of Spec 2.2.2; the box is the crop in film px.
    """
    focal = FOCAL_PX * scale_px / (EXTRACTOR_PX_PER_DM * box_side_px)
    principal = 0.5 + (origin_px - box_centre_px) / box_side_px[..., None]
    turned = rotation(angles)
    centre = WORLD_PER_DM * _camera_centre(turned, translation)
    return pack_label(_pose(turned, centre), _intrinsics(focal, principal))


def label_eg3d_orig(angles: Array, translation: Array) -> Array:
    """Camera [...,25] as EG3D's in-the-wild scripts make it, mode `orig` (Spec 2.2.3).

    Constant intrinsics and radius 2.7 with the published offsets; off by some px, on purpose.
    """
    turned = rotation(angles)
    centre = WORLD_PER_DM * _camera_centre(turned, translation) + _EG3D_OFFSET
    centre = EG3D_RADIUS * centre / np.linalg.norm(centre, axis=-1, keepdims=True)
    batch = centre.shape[:-1]
    intrinsics = _intrinsics(np.full(batch, EG3D_FOCAL), np.full((*batch, 2), 0.5))
    return pack_label(_pose(turned, centre), intrinsics)


def project_label(points_V3: Array, label: Array) -> Array:
    """Project face points (decimetres, [...,V,3]) by a label.

    Returns [...,V,2], 0 to 1 over the crop, y down.
    """
    pose, intrinsics = unpack_label(label)
    relative = WORLD_PER_DM * points_V3 - pose[..., None, :3, 3]
    camera = relative @ pose[..., :3, :3]  # rows times R_c2w is R_w2c times columns
    pixels = camera @ np.swapaxes(intrinsics, -1, -2)
    return pixels[..., :2] / pixels[..., 2:]


def mirror_label(label: Array) -> Array:
    """Label of the mirrored picture of the mirrored face: S P S, cx -> 1 - cx (Spec 2.1.4, 8)."""
    pose, intrinsics = unpack_label(label)
    signs = np.array([-1.0, 1.0, 1.0, 1.0])
    mirrored = intrinsics.copy()
    mirrored[..., 0, 2] = 1 - intrinsics[..., 0, 2]
    return pack_label(pose * signs[:, None] * signs, mirrored)


def _camera_centre(rotation_33: Array, translation: Array) -> Array:
    """Where the extractor's camera stands in the face frame, in decimetres."""
    toward = np.array([0.0, 0.0, DISTANCE_DM]) - translation
    centre: Array = np.einsum("...ji,...j->...i", rotation_33, toward)
    return centre


def _pose(rotation_33: Array, centre: Array) -> Array:
    pose = np.zeros((*centre.shape[:-1], 4, 4))
    pose[..., :3, :3] = np.swapaxes(rotation_33, -1, -2) * _FLIP_YZ
    pose[..., :3, 3] = centre
    pose[..., 3, 3] = 1
    return pose


def _intrinsics(focal: Array, principal: Array) -> Array:
    intrinsics = np.zeros((*focal.shape, 3, 3))
    intrinsics[..., 0, 0] = intrinsics[..., 1, 1] = focal
    intrinsics[..., :2, 2] = principal
    intrinsics[..., 2, 2] = 1
    return intrinsics
