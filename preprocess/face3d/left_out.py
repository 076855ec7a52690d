"""Testing how a face model is learned on persons that it has not seen.

Shapes: T frames, I identity and E expression coefficients. Persons as `learn` takes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from preprocess.crop import align_points
from preprocess.face3d.learn import Person, about_clip_means, is_filmed, learn
from preprocess.face3d.mesh478 import Coefficients, Mesh478, express, fit_clip, pose_features
from preprocess.landmarks.mesh_points import eye_distance, five_points

Array = npt.NDArray[np.float64]

_UPPER_LIP, _LOWER_LIP = 13, 14


@dataclass(frozen=True)
class LeftOut:
    """How a model does on persons who were left out when it was learned.

    residual_iod: mean over persons of their mean reprojection error in inter-ocular distances;
    residual_iod_worst: of the worst person. angles_share: share of the expression's variance about
    each clip's mean that head angles and their squares explain, in one regression over the frames
    of all persons. mouth_r: median over persons of the correlation between the lip gap in the
    picture and a linear map of the expression, learned on the others; mouth_r_worst: the lowest.
    """

    folds: int
    residual_iod: float
    residual_iod_worst: float
    angles_share: float
    mouth_r: float
    mouth_r_worst: float


def check_left_out(persons: Sequence[Person], whole: Mesh478, folds: int = 4) -> LeftOut:
    """Learn `folds` times without every folds-th filmed person and measure on those left out.

    `whole` is the model of all persons: in its expression coordinates the persons of different
    folds are pooled, since each fold has directions of its own. Raises ValueError as `learn`.
    """
    filmed = [index for index, person in enumerate(persons) if is_filmed(person)]
    miss, mouth, angles, moved = [], [], [], []
    for fold in range(folds):
        held = filmed[fold::folds]
        model = learn([person for index, person in enumerate(persons) if index not in held])
        basis_EV3 = model.face.expression_EV3
        seen = [_Fitted(model, persons[index]) for index in filmed if index not in held]
        to_gap_E = _lip_map(seen)
        for index in held:
            own = _Fitted(model, persons[index])
            miss.append(own.miss_iod)
            mouth.append(_correlation(own.expression_TE @ to_gap_E, own.gap_T))
            angles.append(own.angles_TF)
            moved.append(express(whole, np.tensordot(own.expression_TE, basis_EV3, axes=1)))
    return LeftOut(
        folds=folds,
        residual_iod=float(np.mean(miss)),
        residual_iod_worst=max(miss),
        angles_share=_explained(np.concatenate(angles), np.concatenate(moved)),
        mouth_r=float(np.median(mouth)),
        mouth_r_worst=min(mouth),
    )


class _Fitted:
    """A person's clips under a model; all but the miss about the means of the clips."""

    def __init__(self, model: Mesh478, person: Person) -> None:
        fits = [_fit(model, clip) for clip in person]
        self.miss_iod = float(np.concatenate([fit.reprojection_iod_T for fit in fits]).mean())
        self.angles_TF = about_clip_means([pose_features(fit.angles_T3) for fit in fits])
        self.expression_TE = about_clip_means([fit.expression_TE for fit in fits])
        self.gap_T = about_clip_means([_lip_gap(clip) for clip in person])


def _fit(model: Mesh478, meshes_TV3: Array) -> Coefficients:
    return fit_clip(model, meshes_TV3, align_points(five_points(meshes_TV3[..., :2])))


def _lip_map(seen: Sequence[_Fitted]) -> Array:
    """The linear map [E] from expression to lip gap, every person with the same weight."""
    scales = [np.sqrt(len(each.gap_T)) for each in seen]
    expression_TE = np.concatenate(
        [each.expression_TE / scale for each, scale in zip(seen, scales, strict=True)]
    )
    gap_T = np.concatenate([each.gap_T / scale for each, scale in zip(seen, scales, strict=True)])
    return np.asarray(np.linalg.lstsq(expression_TE, gap_T, rcond=None)[0], np.float64)


def _correlation(one_T: Array, other_T: Array) -> float:
    """Pearson's r of values about means; 0 where one of them never moves."""
    scale = np.linalg.norm(one_T) * np.linalg.norm(other_T)
    return float(one_T @ other_T / scale) if scale > 0 else 0.0


def _explained(causes_TF: Array, effects_TE: Array) -> float:
    """Share of the effects' sum of squares that a least-squares map of the causes explains."""
    solved = np.linalg.lstsq(causes_TF, effects_TE, rcond=None)[0]
    return float(1 - ((effects_TE - causes_TF @ solved) ** 2).sum() / (effects_TE**2).sum())


def _lip_gap(meshes_TV3: Array) -> Array:
    """Distance of the inner lips in the picture, in inter-ocular distances."""
    flat = meshes_TV3[..., :2]
    gap = np.linalg.norm(flat[:, _UPPER_LIP] - flat[:, _LOWER_LIP], axis=-1)
    relative: Array = gap / eye_distance(flat)
    return relative
