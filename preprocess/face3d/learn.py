"""Learning the linear face model from the meshes of many persons.

Shapes: T frames, V vertices, D = 3 V, I identity and E expression coefficients, F pose features.
A person is the clips that show them, of all films, each an array of meshes [T,V,3] in film px; a
portrait is a person with one clip of one frame.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import orth
from scipy.optimize import linear_sum_assignment
from scipy.sparse.linalg import eigsh
from scipy.spatial.transform import Rotation

from model.geometry.camera import angles_of
from model.geometry.morphable import MorphableFace
from preprocess.crop import CANONICAL_K3, align_points
from preprocess.face3d.lift import Registration, register, weak_perspective
from preprocess.face3d.mesh478 import NAME, Mesh478, pose_features
from preprocess.landmarks.mesh_points import IBUG68_INDEX, five_points

Array = npt.NDArray[np.float64]
Person = Sequence[Array]

IDENTITY = 40  # of some thirty persons; 64 would fit left-out ones 2 % better, 20 12 % worse
EXPRESSION = 64  # the width that the networks take
_ROUNDS = 4  # of mean shape and stillness; the mean moves less than 1e-3 dm in the last
_INDEPENDENT = 1e-6  # singular values below that part of the largest are rounding
_ORTHOGONAL = 0.01  # cosine; half-precision files keep less than that
_OPENINGS = ((13, 14), (159, 145), (386, 374))  # inner lips, image-left lids, image-right lids
_OPENINGS_MIRRORED = [0, 2, 1]
_POSE_MIRRORED = np.array([1.0, -1.0, -1.0, 1.0, 1.0, 1.0])  # of pitch, yaw, roll and squares


def learn(persons: Sequence[Person]) -> Mesh478:
    """Mean, bases and pose's part of persons; raises ValueError if they are too few.

    What a network's mesh does when a head turns, mouth and eyes being held, is taken away first.
    Expression directions are the principal ones of the shapes about each person's mean, every
    person with the same weight. Identity directions are the principal ones of the persons' means,
    less what their mean expressions account for; they are orthogonal to each expression along which
    persons differ no more than their frames do. Every mesh also enters mirrored, which makes the
    mean symmetric and each direction symmetric or antisymmetric.
    """
    if sum(is_filmed(person) for person in persons) < 2:
        raise ValueError("a face model needs the films of at least two persons")
    weak = [_as_seen(person) for person in persons]
    mean_V3, weight_V, mirror_V = _mean_shape(weak)
    laid = [_lay(each, mean_V3, weight_V) for each in weak]
    pose_FV3 = _pose_part(persons, laid, mirror_V)
    posed = [pose_features(angles_of(each.rotation_T33)) for each in laid]
    shapes = [
        each.shape_TV3 - np.tensordot(features_TF, pose_FV3, axes=1)
        for each, features_TF in zip(laid, posed, strict=True)
    ]
    spread_DD = np.mean(
        [_scatter(each - each.mean(axis=0), mirror_V) for each in shapes if len(each) > 1], axis=0
    )
    expression_ED = _signed(_principal(spread_DD, EXPRESSION))
    unexplained = np.trace(spread_DD) - (expression_ED**2).sum()
    means_PV3 = np.stack([each.mean(axis=0) - mean_V3 for each in shapes])
    face = MorphableFace(
        name=NAME,
        digest="",
        mean_V3=mean_V3,
        identity_IV3=_identity(means_PV3, mirror_V, expression_ED).reshape(IDENTITY, -1, 3),
        expression_EV3=expression_ED.reshape(EXPRESSION, -1, 3),
        landmarks68_L=IBUG68_INDEX,
        card={},
    )
    noise_dm = float(np.sqrt(max(unexplained, 0) / len(spread_DD)))
    return Mesh478(face, pose_FV3, weight_V, noise_dm)


def is_filmed(person: Person) -> bool:
    """Whether a person is seen more than once, so that expression can be learned."""
    return sum(map(len, person)) > 1


def orthogonal_expressions(face: MorphableFace) -> int:
    """Return how many expression directions are orthogonal to all of identity (cosine < 0.01)."""
    identity_ID = face.identity_IV3.reshape(len(face.identity_IV3), -1)
    expression_ED = face.expression_EV3.reshape(len(face.expression_EV3), -1)
    span_DK = orth(identity_ID.T, rcond=_INDEPENDENT)
    cosine_E = np.linalg.norm(expression_ED @ span_DK, axis=1)
    return int((cosine_E < _ORTHOGONAL * np.linalg.norm(expression_ED, axis=1)).sum())


def about_clip_means(clips: Sequence[Array]) -> Array:
    """Deviations from the mean of each clip, one clip after the other."""
    return np.concatenate([clip - clip.mean(axis=0) for clip in clips])


def _as_seen(person: Person) -> Array:
    meshes_TV3 = np.concatenate(person).astype(np.float64)
    return weak_perspective(meshes_TV3, align_points(five_points(meshes_TV3[..., :2])))


def _pose_part(
    persons: Sequence[Person], laid: Sequence[Registration], mirror_V: npt.NDArray[np.int64]
) -> Array:
    """What the mesh does with the head's angles, within clips: [F,V,3] per pose feature.

    Least squares, every person with the same weight. Who nods while speaking would teach that a
    nod opens the mouth; so the openings of mouth and eyes are explained together with the angles.
    """
    causes, effects = [], []
    for person, each in zip(persons, laid, strict=True):
        cuts = np.cumsum([len(clip) for clip in person])[:-1]
        features_TF = pose_features(angles_of(each.rotation_T33))
        known = np.concatenate([features_TF, _openings(each.shape_TV3)], axis=1)
        scale = np.sqrt(len(known))
        causes.append(about_clip_means(np.split(known, cuts)) / scale)
        effects.append(about_clip_means(np.split(each.shape_TV3, cuts)) / scale)
    causes_TC, effects_TV3 = np.concatenate(causes), np.concatenate(effects)
    turned_TF, opened_TO = np.split(causes_TC, [len(_POSE_MIRRORED)], axis=1)
    mirrored_TC = np.c_[turned_TF * _POSE_MIRRORED, opened_TO[:, _OPENINGS_MIRRORED]]
    both_TD = np.concatenate([effects_TV3, _mirrored(effects_TV3, mirror_V)])
    solved_CD = np.linalg.lstsq(
        np.concatenate([causes_TC, mirrored_TC]), both_TD.reshape(len(both_TD), -1), rcond=None
    )[0]
    pose_FV3: Array = solved_CD[: len(_POSE_MIRRORED)].reshape(-1, *effects_TV3.shape[1:])
    return pose_FV3


def _openings(shapes_TV3: Array) -> Array:
    """Distances [T,O] between the lips and between the lids of each eye, in decimetres."""
    gaps = [shapes_TV3[:, upper] - shapes_TV3[:, lower] for upper, lower in _OPENINGS]
    distances: Array = np.linalg.norm(np.stack(gaps, axis=1), axis=-1)
    return distances


def _identity(means_PV3: Array, mirror_V: npt.NDArray[np.int64], expression_ED: Array) -> Array:
    """Identity directions [I,D] of the persons' means about the common one."""
    between_DD = _scatter(means_PV3, mirror_V)
    variance_E = (expression_ED**2).sum(axis=1)
    between_E = np.einsum("ed,ed->e", expression_ED @ between_DD, expression_ED) / variance_E
    is_alone_E = between_E <= variance_E
    alone_ND = expression_ED[is_alone_E] / np.sqrt(variance_E[is_alone_E, None])
    own_ND = np.concatenate([means_PV3, _mirrored(means_PV3, mirror_V)]).reshape(
        -1, len(between_DD)
    )
    own_ND -= own_ND @ alone_ND.T @ alone_ND
    span_DK = orth(np.concatenate([own_ND, expression_ED[~is_alone_E]]).T, rcond=_INDEPENDENT)
    identity_DD = between_DD - expression_ED.T @ expression_ED
    identity_IK = _principal(span_DK.T @ identity_DD @ span_DK, IDENTITY)
    return _signed(identity_IK @ span_DK.T)


def _mean_shape(weak: Sequence[Array]) -> tuple[Array, Array, npt.NDArray[np.int64]]:
    """Mean over persons in the canonical frame; per vertex, its stillness and its mirror image."""
    mean_V3 = _onto_canonical(weak[0][0])
    weight_V = np.ones(len(mean_V3))
    mirror_V = np.arange(len(mean_V3))
    for turn in range(_ROUNDS):
        laid = [_lay(each, mean_V3, weight_V).shape_TV3 for each in weak]
        mean_V3 = np.mean([each.mean(axis=0) for each in laid], axis=0)
        if turn == 0:
            mirror_V = _mirror_index(_onto_canonical(mean_V3))
        mean_V3 = _onto_canonical(mean_V3)
        mean_V3 = (mean_V3 + _mirrored(mean_V3, mirror_V)) / 2
        moving_V = np.mean(
            [each.var(axis=0).sum(axis=-1) for each in laid if len(each) > 1], axis=0
        )
        moving_V = (moving_V + moving_V[mirror_V]) / 2
        weight_V = 1 / (moving_V + 0.2 * np.median(moving_V))
        weight_V /= weight_V.mean()
    return mean_V3, weight_V, mirror_V


def _lay(weak_TV3: Array, mean_V3: Array, weight_V: Array) -> Registration:
    """Lay all meshes of a person over their own mean, which is laid over the common one."""
    own_V3 = register(weak_TV3, mean_V3, weight_V).shape_TV3.mean(axis=0)
    return register(weak_TV3, own_V3, weight_V)


def _onto_canonical(shape_V3: Array) -> Array:
    """Shape moved by a similarity so that its five points fit the canonical ones (Spec 2.2.2)."""
    points = five_points(shape_V3)
    points_mean, wanted_mean = points.mean(axis=0), CANONICAL_K3.mean(axis=0)
    turn, _ = Rotation.align_vectors(CANONICAL_K3 - wanted_mean, points - points_mean)
    turned = turn.apply(points - points_mean)
    scale = ((CANONICAL_K3 - wanted_mean) * turned).sum() / (turned**2).sum()
    moved: Array = scale * turn.apply(shape_V3 - points_mean) + wanted_mean
    return moved


def _mirror_index(shape_V3: Array) -> npt.NDArray[np.int64]:
    """Which vertex is the mirror image of which; ValueError if they cannot be paired."""
    apart = np.linalg.norm((shape_V3 * [-1, 1, 1])[:, None] - shape_V3, axis=-1)
    mirror_V = np.asarray(linear_sum_assignment(apart**2)[1], np.int64)
    if (mirror_V[mirror_V] != np.arange(len(mirror_V))).any():
        raise ValueError("the mean shape of these persons is too lopsided to pair its vertices")
    return mirror_V


def _mirrored(shape_V3: Array, mirror_V: npt.NDArray[np.int64]) -> Array:
    return shape_V3[..., mirror_V, :] * [-1, 1, 1]


def _scatter(offsets_TV3: Array, mirror_V: npt.NDArray[np.int64]) -> Array:
    """Mean outer product [D,D] of offsets and of their mirror images."""
    flat = [each.reshape(len(each), -1) for each in (offsets_TV3, _mirrored(offsets_TV3, mirror_V))]
    scatter: Array = (flat[0].T @ flat[0] + flat[1].T @ flat[1]) / (2 * len(offsets_TV3))
    return scatter


def _principal(scatter_DD: Array, count: int) -> Array:
    """Leading directions [count,D], each as long as its standard deviation, strongest first."""
    start = np.random.default_rng(0).normal(size=len(scatter_DD))  # else the result would vary
    variance, vectors = eigsh(scatter_DD, k=count, which="LA", v0=start)
    rows: Array = (vectors * np.sqrt(np.clip(variance, 0, None))).T
    return rows[np.argsort(-variance)]


def _signed(rows_ND: Array) -> Array:
    """Directions with their signs fixed: the first entry at least half the largest is positive.

    (Mirrored vertices tie for the largest.)
    """
    large = abs(rows_ND) >= abs(rows_ND).max(axis=1, keepdims=True) / 2
    first = np.take_along_axis(rows_ND, large.argmax(axis=1)[:, None], axis=1)
    directions: Array = rows_ND * np.where(first < 0, -1.0, 1.0)
    return directions
