"""How far mouth and eyes are open, read off 68 landmarks in iBUG's order.

Shapes: T frames, K 68 landmarks.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Array = npt.NDArray[np.float64]

_EYES = (slice(36, 42), slice(42, 48))
_LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))
_INNER_LIPS = (62, 66)


def face_openings(landmarks_TK2: Floats) -> tuple[Array, Array]:
    """Return how far mouth [T] and eyes [T] are open, in distances between the eyes' centres.

    The mouth's is the gap of the inner lips, the eyes' the mean gap of the lids; NaN for landmarks
    without extent.
    """
    points_TK2 = np.asarray(landmarks_TK2, np.float64)
    right_T2, left_T2 = (points_TK2[:, eye].mean(axis=1) for eye in _EYES)
    between_T = np.linalg.norm(left_T2 - right_T2, axis=1)
    between_T = np.where(between_T > 0, between_T, np.nan)
    mouth_T, *lids = (
        np.linalg.norm(points_TK2[:, up] - points_TK2[:, down], axis=1) / between_T
        for up, down in (_INNER_LIPS, *_LIDS)
    )
    return mouth_T, np.mean(lids, axis=0)
