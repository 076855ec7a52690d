"""Cameras for scenes that are not looked at."""

import numpy as np
from numpy.typing import NDArray


def frontal_cameras(count: int) -> NDArray[np.float32]:
    """Return labels [count, 25] of EG3D's frontal camera, 2.7 units away."""
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    pose[2, 3] = 2.7
    label = [*pose.ravel(), 4.2647, 0, 0.5, 0, 4.2647, 0.5, 0, 0, 1]
    return np.tile(np.array(label, np.float32), (count, 1))
