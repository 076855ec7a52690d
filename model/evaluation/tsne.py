"""Exact t-SNE for pictures of some hundred points, without chance (van der Maaten, Hinton 2008).

It starts from the first two principal components instead of noise, so that the same points give
the same picture. Shapes: N points, D dimensions.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist, pdist, squareform

Array = NDArray[np.float64]

_STEPS, _EARLY_STEPS = 1000, 250
_EXAGGERATION = 12.0
"""How much more points attract each other in the early steps, in which groups find together."""
_START_SPREAD = 1e-4
_LEAST = 1e-12
_HALVINGS = 100


def tsne(points_ND: Array, perplexity: float) -> Array:
    """Return a place [N,2] for each point; who is near in D dimensions comes to lie near.

    `perplexity` is about how many neighbours a point has. Raises ValueError unless it is at least 1
    and less than N - 1.
    """
    count = len(points_ND)
    if not 1 <= perplexity < count - 1:
        raise ValueError(f"perplexity is {perplexity!r}; allowed is from 1 to below {count - 1}")
    wanted_NN = _neighbour_shares(cdist(points_ND, points_ND, "sqeuclidean"), perplexity)
    places_N2 = _main_plane(points_ND)
    step_N2, gain_N2 = np.zeros_like(places_N2), np.ones_like(places_N2)
    rate = max(count / _EXAGGERATION / 4, 50.0)
    for step in range(_STEPS):
        is_early = step < _EARLY_STEPS
        pull_NN = wanted_NN * _EXAGGERATION if is_early else wanted_NN
        slope_N2 = _slope(places_N2, pull_NN)
        gain_N2 = np.where(np.sign(slope_N2) == np.sign(step_N2), gain_N2 * 0.8, gain_N2 + 0.2)
        gain_N2 = gain_N2.clip(0.01)
        step_N2 = (0.5 if is_early else 0.8) * step_N2 - rate * gain_N2 * slope_N2
        places_N2 = places_N2 + step_N2
    return np.asarray(places_N2 - places_N2.mean(axis=0), np.float64)


def _neighbour_shares(squared_NN: Array, perplexity: float) -> Array:
    """Return how much each pair are neighbours, [N,N], symmetric, 1 in sum.

    Each point's bell curve is as wide as gives its neighbours the wanted perplexity.
    """
    count = len(squared_NN)
    share_NN = np.zeros_like(squared_NN)
    for point in range(count):
        others = np.arange(count) != point
        squared = squared_NN[point, others]
        squared = squared - squared.min()
        low, high, sharpness = 0.0, np.inf, 1 / max(float(squared.mean()), _LEAST)
        for _ in range(_HALVINGS):
            share = np.exp(-sharpness * squared)
            share /= share.sum()
            entropy = -float((share * np.log(share.clip(_LEAST))).sum())
            if entropy > np.log(perplexity):
                low = sharpness
            else:
                high = sharpness
            sharpness = 2 * sharpness if high == np.inf else (low + high) / 2
        share_NN[point, others] = share
    return (share_NN + share_NN.T) / (2 * count)


def _main_plane(points_ND: Array) -> Array:
    """Return the points in the plane of their first two principal components, small."""
    about_ND = points_ND - points_ND.mean(axis=0)
    left, spread, right = np.linalg.svd(about_ND, full_matrices=False)
    # A component's sign is arbitrary: its largest weight is made positive.
    sign = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    plane_N2 = np.zeros((len(points_ND), 2))
    known = min(2, len(spread))
    plane_N2[:, :known] = (left * spread * sign)[:, :known]
    return plane_N2 * (_START_SPREAD / max(float(plane_N2[:, 0].std()), _LEAST))


def _slope(places_N2: Array, wanted_NN: Array) -> Array:
    """Return the gradient [N,2] of the divergence between wanted and present neighbourhoods."""
    near_NN = squareform(1 / (1 + pdist(places_N2, "sqeuclidean")))
    force_NN = (wanted_NN - near_NN / near_NN.sum()) * near_NN
    return np.asarray(
        4 * (force_NN.sum(axis=1, keepdims=True) * places_N2 - force_NN @ places_N2), np.float64
    )
