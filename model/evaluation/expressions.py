"""What the codes of expressions tell: who it is, how the head is turned, how far the mouth is open.

Asked alike of the face model's coefficients beta and of the encoded expression beta' (Spec 2.3.3,
2.9): an encoder that has learned forgets the person and the pose and keeps the mouth.

Shapes: N frames, D numbers of a code, K neighbours, P persons.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

Array = NDArray[np.float64]
Labels = NDArray[np.generic]


@dataclass(frozen=True)
class IdentityScore:
    """How often neighbours tell the right person, as a mean over persons.

    chance: the share of the right person among the frames that may be neighbours, which is what a
    code without any trace of the person would score. Counted are `frames` of `persons`.
    """

    accuracy: float
    chance: float
    frames: int
    persons: int


@dataclass(frozen=True)
class ProbeScore:
    """How well a linear map reads a quantity off the code of persons it was not learned on.

    r: median over persons of Pearson's correlation; r_worst: the lowest. explained: share of the
    variance, over all frames; below 0 where the map does worse than none. chance_r: the median for
    the same quantity, shuffled within each clip.
    """

    r: float
    r_worst: float
    explained: float
    chance_r: float
    persons: int


def neighbour_identity(
    code_ND: Array,
    person_N: Labels,
    clip_N: Labels,
    time_s_N: Array,
    *,
    neighbours: int = 5,
    apart_s: float = 0.4,
) -> IdentityScore | None:
    """Ask the nearest frames (Euclidean) of each frame who it is; the most named person counts.

    Frames of one clip nearer in time than `apart_s` show the same instant, and are no neighbours;
    `inf` leaves out the whole clip, so that only other takes of the person can tell. A tie goes to
    whoever has the nearest neighbour. Frames whose person has fewer than `neighbours` others that
    may be asked are not counted; None where there are no others.
    """
    persons, person_N = np.unique(person_N, return_inverse=True)
    barred_NN = clip_N[:, None] == clip_N
    barred_NN &= np.abs(time_s_N[:, None] - time_s_N) < apart_s
    own_N = ((person_N[:, None] == person_N) & ~barred_NN).sum(axis=1)
    asked_N = own_N >= neighbours
    if not asked_N.any():
        return None
    distance_NN = np.where(barred_NN, np.inf, cdist(code_ND, code_ND))
    named_NK = person_N[np.argsort(distance_NN, axis=1, kind="stable")[:, :neighbours]]
    # Nearer neighbours weigh a little more: too little to outvote another, enough to break a tie.
    weight_K = 1 + 0.5 ** np.arange(2, neighbours + 2)
    votes_NP = (np.eye(len(persons))[named_NK] * weight_K[:, None]).sum(axis=1)
    is_right_N = votes_NP.argmax(axis=1) == person_N
    by_luck_N = own_N / (~barred_NN).sum(axis=1).clip(1)
    groups = [group for group in _groups(person_N) if asked_N[group].any()]
    asked = [group[asked_N[group]] for group in groups]
    return IdentityScore(
        accuracy=float(np.mean([is_right_N[group].mean() for group in asked])),
        chance=float(np.mean([by_luck_N[group].mean() for group in asked])),
        frames=int(asked_N.sum()),
        persons=len(asked),
    )


def linear_probe(
    code_ND: Array,
    target_N: Array,
    person_N: Labels,
    clip_N: Labels,
    *,
    ridge: float = 1e-3,
    seed: int = 0,
) -> ProbeScore:
    """Read a quantity off the code by ridge regression, each person left out in turn.

    Code and quantity are taken about the means of their clips: what a person or a take has once
    and for all is a matter of identity. Every person has the same weight. `ridge` is in units of
    the code's mean variance along a direction that it uses at all. Raises ValueError for fewer
    than two persons.
    """
    groups = list(_groups(person_N))
    if len(groups) < 2:
        raise ValueError("a probe needs frames of at least two persons")
    clips = list(_groups(clip_N))
    code_ND, moved_N = _about_means(code_ND, clips), _about_means(target_N, clips)
    read_N = _read_left_out(code_ND, moved_N, groups, ridge)
    rng, shuffled_N = np.random.default_rng(seed), moved_N.copy()
    for clip in clips:
        shuffled_N[clip] = rng.permutation(moved_N[clip])
    luck_N = _read_left_out(code_ND, shuffled_N, groups, ridge)
    r_P = [_correlation(read_N[group], moved_N[group]) for group in groups]
    spread = float((moved_N**2).sum())
    return ProbeScore(
        r=float(np.median(r_P)),
        r_worst=min(r_P),
        explained=1 - float(((moved_N - read_N) ** 2).sum()) / spread if spread else 0.0,
        chance_r=float(np.median([_correlation(luck_N[own], shuffled_N[own]) for own in groups])),
        persons=len(groups),
    )


def _groups(label_N: Labels) -> Iterator[NDArray[np.int64]]:
    """Give the rows of each label, in the order of labels."""
    for label in np.unique(label_N):
        yield np.flatnonzero(label_N == label)


def _about_means(values: Array, groups: list[NDArray[np.int64]]) -> Array:
    out = np.array(values, np.float64)
    for group in groups:
        out[group] -= out[group].mean(axis=0)
    return out


def _read_left_out(
    code_ND: Array, target_N: Array, groups: list[NDArray[np.int64]], ridge: float
) -> Array:
    """Return what maps learned without each person read off that person's code, [N]."""
    square_PDD = np.stack([code_ND[own].T @ code_ND[own] / len(own) for own in groups])
    product_PD = np.stack([code_ND[own].T @ target_N[own] / len(own) for own in groups])
    used = max(1, np.linalg.matrix_rank(square_PDD.sum(axis=0), hermitian=True))
    read_N = np.zeros(len(code_ND))
    for left_out, own in enumerate(groups):
        square_DD = square_PDD.sum(axis=0) - square_PDD[left_out]
        product_D = product_PD.sum(axis=0) - product_PD[left_out]
        damping = ridge * np.trace(square_DD) / used
        damped_DD = square_DD + damping * np.eye(len(square_DD))
        read_N[own] = code_ND[own] @ np.linalg.lstsq(damped_DD, product_D, rcond=None)[0]
    return read_N


def _correlation(one_N: Array, other_N: Array) -> float:
    """Pearson's r of values about their mean; 0 where one of them never moves."""
    scale = np.linalg.norm(one_N) * np.linalg.norm(other_N)
    return float(one_N @ other_N / scale) if scale > 0 else 0.0
