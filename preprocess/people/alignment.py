"""Where a network wants to see a face: the similarity that brings its points to a template."""

import numpy as np

from preprocess.crop import Array
from preprocess.landmarks.backend import Points


def similarity(points_K2: Points, template_K2: Array) -> Array:
    """Affine [3,3] that turns, scales and moves the points nearest to the template, both in px.

    Points as complex numbers, a similarity is a product and a sum, and least squares a quotient.
    Raises ValueError if the points do not lie as those of a face, say all in one place.
    """
    if not np.isfinite(points_K2).all():
        raise ValueError("the points of a face are not finite numbers")
    from_K, to_K = (x + 1j * y for x, y in (points_K2.T, template_K2.T))
    spread_K = from_K - from_K.mean()
    size = float(np.sum(np.abs(spread_K) ** 2))
    turn = np.sum(spread_K.conj() * to_K) / max(size, 1e-12)
    if not abs(turn) > 0:
        raise ValueError("the points do not lie as those of a face: no alignment fits them")
    shift = to_K.mean() - turn * from_K.mean()
    return np.array(
        [[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag], [0, 0, 1]]
    )
