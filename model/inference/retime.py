"""Expressions of one film at the frame times of another (Spec 2.10.1, 2.10.7).

Shapes: T frames of the performance, F frames of the film, E expression coefficients.
"""

import numpy as np
from numpy.typing import NDArray

MAX_GAP_S = 0.25
"""Longest stretch between two observed frames over which an expression is drawn as a straight line:
a syllable. Beyond it the performance has no expression to give."""


def retime_expression(
    pts_s_T: NDArray[np.float64],
    exp_TE: NDArray[np.float32],
    at_s_F: NDArray[np.float64],
    max_gap_s: float = MAX_GAP_S,
    segment_T: NDArray[np.generic] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return (exp_FE, known_F): linear between the two observed frames around each time.

    `known` is False outside the performance and inside gaps longer than `max_gap_s`; those rows
    are 0. Times must rise. Where `segment_T` (the performance's shots, labels of any type) tells
    a cut between the two frames, the nearer one is taken instead of a mixture of two shots.
    """
    exp_FE = np.zeros((len(at_s_F), exp_TE.shape[1]), np.float32)
    if len(pts_s_T) == 0:
        return exp_FE, np.zeros(len(at_s_F), bool)
    before_F, after_F, share_F = _around(pts_s_T, at_s_F)
    if segment_T is not None:
        cut_F = segment_T[before_F] != segment_T[after_F]
        share_F = np.where(cut_F, share_F > 0.5, share_F)
    inside_F = (at_s_F >= pts_s_T[0]) & (at_s_F <= pts_s_T[-1])
    known_F = inside_F & (pts_s_T[after_F] - pts_s_T[before_F] <= max_gap_s)
    mixed_FE = exp_TE[before_F] + share_F[:, None] * (exp_TE[after_F] - exp_TE[before_F])
    exp_FE[known_F] = mixed_FE[known_F]
    return exp_FE, known_F


def nearest_frames(pts_s_T: NDArray[np.float64], at_s_F: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the frame [F] nearest in time to each of the times: whose shot they belong to.

    Times must rise; of two frames equally near the earlier one counts. Raises ValueError where the
    performance has no frame.
    """
    if len(pts_s_T) == 0:
        raise ValueError("there is no frame to be near to")
    before_F, after_F, share_F = _around(pts_s_T, at_s_F)
    return np.where(share_F > 0.5, after_F, before_F)


def _around(
    pts_s_T: NDArray[np.float64], at_s_F: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the frames before and after each time, and how far it lies on the way between."""
    after_F = np.searchsorted(pts_s_T, at_s_F, side="left").clip(0, len(pts_s_T) - 1)
    exact_F = pts_s_T[after_F] == at_s_F
    before_F = np.where(exact_F, after_F, (after_F - 1).clip(0))
    span_F = pts_s_T[after_F] - pts_s_T[before_F]
    share_F = (at_s_F - pts_s_T[before_F]) / np.where(span_F > 0, span_F, 1)
    return before_F, after_F, share_F
