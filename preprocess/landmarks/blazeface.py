"""BlazeFace short range: anchors, decoding and weighted non-maximum suppression.

Shapes: A anchors (896), N kept faces.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Raw = npt.NDArray[np.float32]

INPUT_PX = 128
_GRIDS = ((16, 2), (8, 6))  # cells a side and anchors a cell, for strides 8 and 16


@dataclass(frozen=True, eq=False)
class Faces:
    """Faces in one picture: boxes_N4 as x0 y0 x1 y1, eyes_N22 (image-left, image-right), scores_N.

    Coordinates are fractions of the network's square input.
    """

    boxes_N4: Array
    eyes_N22: Array
    scores_N: Array


def _anchor_centres() -> Array:
    centres = []
    for cells, repeats in _GRIDS:
        along = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(along, along, indexing="ij")
        centres.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), repeats, axis=0))
    return np.concatenate(centres)


_ANCHORS_A2 = _anchor_centres()


def decode_faces(
    regressors_A16: Raw, logits_A: Raw, *, min_score: float, overlap: float = 0.3
) -> Faces:
    """Turn the network's raw output into faces, best first.

    Each anchor says the box's centre and size, then six points (eyes, nose, mouth, ears), all in
    input px relative to the anchor. Boxes whose IoU with a better one exceeds `overlap` are merged
    into it with their scores as weights.
    """
    scores_A = 1 / (1 + np.exp(-np.clip(logits_A.astype(np.float64), -100, 100)))
    likely = np.flatnonzero(scores_A >= min_score)
    likely = likely[np.argsort(-scores_A[likely], kind="stable")]
    values = regressors_A16[likely].astype(np.float64) / INPUT_PX
    centres = values[:, :2] + _ANCHORS_A2[likely]
    half = values[:, 2:4] / 2
    eyes = values[:, 4:8] + np.tile(_ANCHORS_A2[likely], 2)
    rows = np.c_[centres - half, centres + half, eyes]
    scores = scores_A[likely]
    merged, kept = [], []
    while len(rows):
        near = box_iou(rows[0, :4], rows[:, :4]) > overlap
        near[0] = True
        merged.append(np.average(rows[near], axis=0, weights=scores[near]))
        kept.append(scores[0])
        rows, scores = rows[~near], scores[~near]
    table = np.array(merged).reshape(-1, 8)
    return Faces(table[:, :4], table[:, 4:].reshape(-1, 2, 2), np.array(kept))


def box_iou(box_4: Array, boxes_N4: Array) -> Array:
    """Intersection over union of one box with many, all as x0 y0 x1 y1."""
    low = np.maximum(box_4[:2], boxes_N4[..., :2])
    high = np.minimum(box_4[2:], boxes_N4[..., 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = np.prod(boxes_N4[..., 2:] - boxes_N4[..., :2], axis=-1)
    union = np.prod(box_4[2:] - box_4[:2]) + areas - shared
    iou: Array = shared / np.maximum(union, 1e-12)
    return iou
