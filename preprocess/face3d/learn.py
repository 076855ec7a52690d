"""Learning the linear face model from the meshes of many persons, and testing it on left-out ones.

Shapes: T frames, V vertices, D = 3 V, I identity and E expression coefficients. A person is one
array of meshes [T,V,3] in film px, of all films that show them; a portrait is a person with T = 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.sparse.linalg import eigsh
from scipy.spatial.transform import Rotation

from model.geometry.morphable import MorphableFace
from preprocess.crop import CANONICAL_K3, align_points
from preprocess.face3d.lift import register, weak_perspective
from preprocess.face3d.mesh478 import Coefficients, Mesh478, fit_clip
from preprocess.landmarks.mesh_points import IBUG68_INDEX, eye_distance, five_points

Array = npt.NDArray[np.float64]

NAME = "mesh478"
IDENTITY = 40  # of some thirty persons; 64 would fit left-out ones 2 % better, 20 12 % worse
EXPRESSION = 64  # the width that the networks take
_ROUNDS = 4  # of mean shape and stillness; the mean moves less than 1e-3 dm in the last
_UPPER_LIP, _LOWER_LIP = 13, 14


@dataclass(frozen=True)
class LeftOut:
    """How the model does on persons that it has not seen.

    residual_iod: mean reprojection error in inter-ocular distances; residual_iod_worst: of the
    worst person. angles_share: share of the expression's variance about each person's mean that
    head angles and their squares predict, with the coefficients of the prediction learned on the
    others; angles_share_seen: the same with coefficients learned on all. mouth_r: correlation over
    all frames of the lip gap in the picture with a linear map of the expression, the lip gap of
    the expression basis.
    """

    folds: int
    residual_iod: float
    residual_iod_worst: float
    angles_share: float
    angles_share_seen: float
    mouth_r: float


def learn(persons: Sequence[Array]) -> Mesh478:
    """Mean, identity and expression bases of persons; raises ValueError if they are too few.

    Expression directions are the principal ones of the shapes about each person's mean, every
    person with the same weight. Identity directions are the principal ones of the persons' means,
    less what their mean expressions account for. Every mesh also enters mirrored, which makes the
    mean symmetric and each direction symmetric or antisymmetric.
    """
    moving = [person for person in persons if len(person) > 1]
    if len(moving) < 2:
        raise ValueError("a face model needs the films of at least two persons")
    weak = [weak_perspective(each, align_points(five_points(each[..., :2]))) for each in persons]
    mean_V3, weight_V, mirror_V = _mean_shape(weak)
    laid = [_lay(each, mean_V3, weight_V) for each in weak]
    spread_DD = np.mean(
        [_scatter(each - each.mean(axis=0), mirror_V) for each in laid if len(each) > 1], axis=0
    )
    expression_ED = _signed(_principal(spread_DD, EXPRESSION))
    unexplained = np.trace(spread_DD) - (expression_ED**2).sum()
    means = np.stack([each.mean(axis=0) - mean_V3 for each in laid])
    identity_DD = _scatter(means, mirror_V) - expression_ED.T @ expression_ED
    own = np.concatenate([means, _mirrored(means, mirror_V)]).reshape(2 * len(means), -1)
    span_DK = np.linalg.qr(np.concatenate([own, expression_ED]).T)[0]
    identity_IK = _principal(span_DK.T @ identity_DD @ span_DK, IDENTITY)
    identity_ID = _signed(identity_IK @ span_DK.T)
    face = MorphableFace(
        name=NAME,
        digest="",
        mean_V3=mean_V3,
        identity_IV3=identity_ID.reshape(IDENTITY, -1, 3),
        expression_EV3=expression_ED.reshape(EXPRESSION, -1, 3),
        landmarks68_L=IBUG68_INDEX,
        card={},
    )
    noise_dm = float(np.sqrt(max(unexplained, 0) / len(spread_DD)))
    return Mesh478(face, weight_V, noise_dm)


def check_left_out(persons: Sequence[Array], folds: int = 4) -> LeftOut:
    """Learn `folds` times without every folds-th filmed person and measure on those left out."""
    filmed = [index for index, person in enumerate(persons) if len(person) > 1]
    miss: list[float] = []
    unexplained, total = 0.0, 0.0
    opened, told = [], []
    for fold in range(folds):
        held = set(filmed[fold::folds])
        model = learn([person for index, person in enumerate(persons) if index not in held])
        fits = {index: _fit(model, persons[index]) for index in filmed}
        seen = [index for index in filmed if index not in held]
        angles = [_pose_features(fits[index]) for index in seen]
        moved = [_about_mean(fits[index].expression_TE) for index in seen]
        follow = np.linalg.lstsq(np.concatenate(angles), np.concatenate(moved), rcond=None)[0]
        basis_EV3 = model.face.expression_EV3
        mouth = basis_EV3[:, _UPPER_LIP, 1] - basis_EV3[:, _LOWER_LIP, 1]
        for index in sorted(held):
            fit = fits[index]
            miss.append(float(fit.reprojection_iod_T.mean()))
            moving = _about_mean(fit.expression_TE)
            unexplained += float(((moving - _pose_features(fit) @ follow) ** 2).sum())
            total += float((moving**2).sum())
            opened.append(_lip_gap(persons[index]))
            told.append(fit.expression_TE @ mouth)
    return LeftOut(
        folds=folds,
        residual_iod=float(np.mean(miss)),
        residual_iod_worst=max(miss),
        angles_share=1 - unexplained / total,
        angles_share_seen=_angles_share_seen(persons, filmed),
        mouth_r=float(np.corrcoef(np.concatenate(opened), np.concatenate(told))[0, 1]),
    )


def _mean_shape(weak: Sequence[Array]) -> tuple[Array, Array, npt.NDArray[np.int64]]:
    """Mean over persons in the canonical frame; per vertex, its stillness and its mirror image."""
    mean_V3 = _onto_canonical(weak[0][0])
    weight_V = np.ones(len(mean_V3))
    mirror_V = np.arange(len(mean_V3))
    for turn in range(_ROUNDS):
        laid = [_lay(each, mean_V3, weight_V) for each in weak]
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


def _lay(weak_TV3: Array, mean_V3: Array, weight_V: Array) -> Array:
    """Lay all meshes of a person over their own mean, which is laid over the common one."""
    own_V3 = register(weak_TV3, mean_V3, weight_V).shape_TV3.mean(axis=0)
    return register(weak_TV3, own_V3, weight_V).shape_TV3


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


def _fit(model: Mesh478, meshes_TV3: Array) -> Coefficients:
    return fit_clip(model, meshes_TV3, align_points(five_points(meshes_TV3[..., :2])))


def _angles_share_seen(persons: Sequence[Array], filmed: Sequence[int]) -> float:
    model = learn(persons)
    fits = [_fit(model, persons[index]) for index in filmed]
    angles = np.concatenate([_pose_features(fit) for fit in fits])
    moved = np.concatenate([_about_mean(fit.expression_TE) for fit in fits])
    left = moved - angles @ np.linalg.lstsq(angles, moved, rcond=None)[0]
    return float(1 - (left**2).sum() / (moved**2).sum())


def _pose_features(fit: Coefficients) -> Array:
    return _about_mean(np.c_[fit.angles_T3, fit.angles_T3**2])


def _about_mean(values_TC: Array) -> Array:
    """Deviations from a person's mean, scaled so that every person weighs the same."""
    deviations: Array = (values_TC - values_TC.mean(axis=0)) / np.sqrt(len(values_TC))
    return deviations


def _lip_gap(meshes_TV3: Array) -> Array:
    """Distance of the inner lips in the picture, in inter-ocular distances."""
    flat = meshes_TV3[..., :2]
    gap = np.linalg.norm(flat[:, _UPPER_LIP] - flat[:, _LOWER_LIP], axis=-1)
    relative: Array = gap / eye_distance(flat)
    return relative
