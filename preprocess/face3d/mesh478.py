"""Fit of a clip by the linear face model on MediaPipe's 478-point mesh, in closed form.

The model: shape of person p in frame t = mean + identity basis a_p + expression basis b_pt + noise,
with a and b of unit variance. The two bases are not orthogonal (nearly all of what tells faces
apart could also be an expression), so they are told apart by how much each varies: a clip's mean
expression is taken to vary as that of a single frame does, and identity is the posterior mean given
the clip's mean shape. The expression of a frame is then a ridge solution with the noise as weight.

Shapes: T frames, V = 478 vertices, I identity and E = 64 expression coefficients, D = 3 V.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.geometry.camera import angles_of, project_film
from model.geometry.morphable import MorphableFace, read_morphable
from preprocess.crop import Alignment
from preprocess.face3d.lift import register, solve_translation, weak_perspective
from preprocess.landmarks.mesh_points import eye_distance

Array = npt.NDArray[np.float64]

SHIPPED = Path(__file__).with_name("mesh478.safetensors")
_ROUNDS = 3  # pose from shape, shape from pose; the reprojection error settles in two


@dataclass(frozen=True, eq=False)
class Mesh478:
    """The face model with what its fit needs.

    weight_V says how still each vertex is under expression; noise_dm is what the expression basis
    leaves unexplained, per coordinate.
    """

    face: MorphableFace
    weight_V: Array
    noise_dm: float


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
            weight_V=further["weight"],
            noise_dm=float(face.card["noise_dm"]),
        )
    except KeyError as error:
        raise ValueError(f"{path} is not a mesh478 face model: it lacks {error}") from error


def fit_clip(model: Mesh478, meshes_TV3: Array, alignment: Alignment) -> Coefficients:
    """Fit the meshes of one clip (film px, frames with a face only, at least one).

    Pose by Procrustes with the perspective undone, shape in closed form, translation by the linear
    solve under the extractor's camera.
    """
    face = model.face
    weak_TV3 = weak_perspective(np.asarray(meshes_TV3, np.float64), alignment)
    target = face.mean_V3
    for _ in range(_ROUNDS):
        laid = register(weak_TV3, target, model.weight_V)
        identity_I, expression_TE = split_shape(model, laid.shape_TV3)
        target = face.shape(identity_I, expression_TE)
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


def split_shape(model: Mesh478, shapes_TV3: Array) -> tuple[Array, Array]:
    """Identity [I] and expression [T,E] of shapes of one person in the model's frame."""
    face = model.face
    identity_ID = face.identity_IV3.reshape(len(face.identity_IV3), -1)
    expression_ED = face.expression_EV3.reshape(len(face.expression_EV3), -1)
    excess_TD = (shapes_TV3 - face.mean_V3).reshape(len(shapes_TV3), -1)
    both = np.concatenate([identity_ID, expression_ED])
    identity_I = _ridge(both, excess_TD.mean(axis=0), model.noise_dm)[: len(identity_ID)]
    expression_TE = _ridge(expression_ED, excess_TD - identity_I @ identity_ID, model.noise_dm)
    return identity_I, expression_TE


def _ridge(basis_KD: Array, values: Array, noise: float) -> Array:
    """Posterior mean [...,K] of unit-variance coefficients of values [...,D] with white noise."""
    gram = basis_KD @ basis_KD.T + noise**2 * np.eye(len(basis_KD))
    return np.asarray(np.linalg.solve(gram, basis_KD @ values.T).T, np.float64)
