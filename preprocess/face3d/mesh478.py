"""Fit of a clip by the linear face model on MediaPipe's 478-point mesh, in closed form.

The model: shape of person p in frame t = mean + identity basis a_p + expression basis b_pt + pose's
part + noise, with a and b of unit variance. Pose's part is what the network's mesh does when the
head turns, linear in the angles and their squares; with the angles known it is subtracted.

Identity is orthogonal to the expressions along which persons differ no more than frames do. To the
others it cannot be (nearly all of what tells faces apart could also be an expression), so there the
two are told apart by how much each varies: a clip's mean expression is taken to vary as that of a
single frame does, and identity is the posterior mean given the clip's mean shape. The expression of
a frame is then a ridge solution with the noise as weight.

Shapes: T frames, V = 478 vertices, I identity and E = 64 expression coefficients, D = 3 V, F = 6
pose features.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from model.geometry.camera import angles_of, project_film
from model.geometry.morphable import MorphableFace, read_morphable
from preprocess.crop import Alignment
from preprocess.face3d.lift import register, solve_translation, weak_perspective
from preprocess.landmarks.mesh_points import eye_distance

Array = npt.NDArray[np.float64]

NAME = "mesh478"
SHIPPED = Path(__file__).with_name("mesh478.safetensors")
_ROUNDS = 3  # pose from shape, shape from pose; the reprojection error settles in two


@dataclass(frozen=True, eq=False)
class Mesh478:
    """The face model with what its fit needs.

    pose_FV3 is the mesh's change with each of `pose_features`, in decimetres; weight_V says how
    still each vertex is under expression; noise_dm is what the expression basis leaves unexplained,
    per coordinate.
    """

    face: MorphableFace
    pose_FV3: Array
    weight_V: Array
    noise_dm: float

    def shape(self, identity_I: Array, expression_TE: Array, angles_T3: Array) -> Array:
        """Vertices [T,V,3] as the mesh network sees them, before they are turned by the angles."""
        posed_TV3 = np.tensordot(pose_features(angles_T3), self.pose_FV3, axes=1)
        return self.face.shape(identity_I, expression_TE) + np.asarray(posed_TV3, np.float64)


@dataclass(frozen=True, eq=False)
class Coefficients:
    """One clip in the conventions of Spec 2.2.1: one identity, the rest per frame.

    identity_I, expression_TE, angles_T3 (pitch, yaw, roll in radians), translation_T3 (dm, under
    the alignment that was given), reprojection_px_T (mean distance of projected model vertices
    from the mesh, film px), reprojection_iod_T (the same in inter-ocular distances).
    """

    identity_I: Array
    expression_TE: Array
    angles_T3: Array
    translation_T3: Array
    reprojection_px_T: Array
    reprojection_iod_T: Array


def read_mesh478(path: Path = SHIPPED) -> Mesh478:
    """Read the model; OSError or ValueError as `read_morphable`."""
    face, further = read_morphable(path)
    try:
        return Mesh478(
            face=face,
            pose_FV3=further["pose"],
            weight_V=further["weight"],
            noise_dm=float(face.card["noise_dm"]),
        )
    except KeyError as error:
        raise ValueError(f"{path} is not a mesh478 face model: it lacks {error}") from error


def pack_mesh478(model: Mesh478, card: Mapping[str, Any]) -> bytes:
    """Serialise a model for `read_mesh478`; the same model and card give the same bytes.

    All metadata is one JSON string, because safetensors writes several entries in any order; it
    also writes the memory of an array as it lies, so that each must be contiguous.
    """
    face = model.face
    tensors: dict[str, npt.NDArray[np.generic]] = {
        "mean": face.mean_V3.astype(np.float32),
        "identity": face.identity_IV3.astype(np.float16),
        "expression": face.expression_EV3.astype(np.float16),
        "pose": model.pose_FV3.astype(np.float16),
        "weight": model.weight_V.astype(np.float32),
        "landmarks68": face.landmarks68_L.astype(np.int32),
    }
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    whole = {**card, "name": NAME, "unit": "decimetre", "noise_dm": float(f"{model.noise_dm:.4g}")}
    return save(tensors, metadata={"card": json.dumps(whole, sort_keys=True)})


def pose_features(angles_T3: Array) -> Array:
    """What pose's part of the mesh is linear in [T,F]: pitch, yaw, roll in radians, and squares."""
    return np.concatenate([angles_T3, angles_T3**2], axis=-1)


def fit_clip(model: Mesh478, meshes_TV3: Array, alignment: Alignment) -> Coefficients:
    """Fit the meshes of one clip (film px, frames with a face only, at least one).

    Pose by Procrustes with the perspective undone, shape in closed form, translation by the linear
    solve under the extractor's camera.
    """
    weak_TV3 = weak_perspective(np.asarray(meshes_TV3, np.float64), alignment)
    target = model.face.mean_V3
    for _ in range(_ROUNDS):
        laid = register(weak_TV3, target, model.weight_V)
        angles_T3 = angles_of(laid.rotation_T33)
        identity_I, expression_TE = split_shape(model, laid.shape_TV3, angles_T3)
        target = model.shape(identity_I, expression_TE, angles_T3)
    rotation_T33 = register(weak_TV3, target, model.weight_V).rotation_T33
    angles_T3 = angles_of(rotation_T33)
    translation_T3 = solve_translation(target @ np.swapaxes(rotation_T33, -1, -2), weak_TV3)
    projected_TV2 = project_film(
        target, angles_T3, translation_T3, alignment.origin_T2, alignment.scale_T
    )
    miss_T = np.linalg.norm(projected_TV2 - meshes_TV3[..., :2], axis=-1).mean(axis=-1)
    return Coefficients(
        identity_I=identity_I,
        expression_TE=expression_TE,
        angles_T3=angles_T3,
        translation_T3=translation_T3,
        reprojection_px_T=miss_T,
        reprojection_iod_T=miss_T / eye_distance(meshes_TV3[..., :2]),
    )


def split_shape(model: Mesh478, shapes_TV3: Array, angles_T3: Array) -> tuple[Array, Array]:
    """Identity [I] and expression [T,E] of shapes of one person, laid over the model's mean."""
    face = model.face
    both_KD = _both_bases(face)
    identity_ID = both_KD[: len(face.identity_IV3)]
    posed_TV3 = np.tensordot(pose_features(angles_T3), model.pose_FV3, axes=1)
    excess_TD = (shapes_TV3 - face.mean_V3 - posed_TV3).reshape(len(shapes_TV3), -1)
    identity_I = _ridge(both_KD, excess_TD.mean(axis=0), model.noise_dm)[: len(identity_ID)]
    left_TV3 = (excess_TD - identity_I @ identity_ID).reshape(shapes_TV3.shape)
    return identity_I, express(model, left_TV3)


def express(model: Mesh478, offsets_TV3: Array) -> Array:
    """Expression [T,E] of offsets from a neutral face in the model's frame, in decimetres."""
    expression_ED = model.face.expression_EV3.reshape(len(model.face.expression_EV3), -1)
    return _ridge(expression_ED, offsets_TV3.reshape(len(offsets_TV3), -1), model.noise_dm)


def readout(model: Mesh478) -> Array:
    """Return the matrix [I+E,D] that reads identity and expression off offsets from the mean."""
    both_KD = _both_bases(model.face)
    return _ridge(both_KD, np.eye(both_KD.shape[1]), model.noise_dm).T


def _both_bases(face: MorphableFace) -> Array:
    """Identity's and the expressions' basis as rows [I+E,D]."""
    bases = (face.identity_IV3, face.expression_EV3)
    return np.concatenate([basis.reshape(len(basis), -1) for basis in bases])


def _ridge(basis_KD: Array, values: Array, noise: float) -> Array:
    """Posterior mean [...,K] of unit-variance coefficients of values [...,D] with white noise."""
    gram = basis_KD @ basis_KD.T + noise**2 * np.eye(len(basis_KD))
    return np.asarray(np.linalg.solve(gram, basis_KD @ values.T).T, np.float64)
