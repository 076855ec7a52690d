"""Upright boxes of faces: corners x0 y0 x1 y1 in px of the frame."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def box_iou(box_4: Array, boxes_N4: Array) -> Array:
    """Intersection over union of one box with many [...,4], or with one."""
    low = np.maximum(box_4[:2], boxes_N4[..., :2])
    high = np.minimum(box_4[2:], boxes_N4[..., 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = np.prod(boxes_N4[..., 2:] - boxes_N4[..., :2], axis=-1)
    union = np.prod(box_4[2:] - box_4[:2]) + areas - shared
    iou: Array = shared / np.maximum(union, 1e-12)
    return iou


def longer_side(box_4: Array) -> float:
    """Longer side of a box in px."""
    return float((box_4[2:] - box_4[:2]).max())


def is_inside(point_2: Array, box_4: Array) -> bool:
    """Whether a point lies in a box."""
    return bool((point_2 >= box_4[:2]).all() and (point_2 <= box_4[2:]).all())


def centre(box_4: Array) -> Array:
    """Middle of a box."""
    return (box_4[:2] + box_4[2:]) / 2
