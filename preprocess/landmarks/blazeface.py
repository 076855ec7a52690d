"""BlazeFace short range run by LiteRT: anchors, decoding and weighted non-maximum suppression.

Shapes: A anchors (896), N kept faces.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from preprocess.boxes import box_iou
from preprocess.crop import inverse, transform, warp
from preprocess.landmarks.backend import Detection, Rgb
from preprocess.landmarks.litert import Network, network_of

Array = npt.NDArray[np.float64]
Raw = npt.NDArray[np.float32]

INPUT_PX = 128
_MIN_SCORE = 0.5  # the bundle's own default
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


class BlazeFace:
    """Detector on `face_landmarker_v2.task`: quick, for faces above about a tenth of the picture.

    The file is read and its sha256 compared at first use, so that `identity` needs no weights.
    Raises OSError if the file cannot be read then, ValueError if it is another file.
    """

    name = "blazeface"
    version = "1"  # of this port: change it whenever the numbers change

    def __init__(self, task_file: Path, sha256: str) -> None:
        self._task_file = task_file
        self._sha256 = sha256

    def identity(self) -> dict[str, str]:
        """Name, version of the port, digest of the weights."""
        return {"detector": self.name, "version": self.version, "weights_sha256": self._sha256}

    def find(self, rgb: Rgb) -> list[Detection]:
        """Every face of an RGB picture [H,W,3], best first; its points are the two eyes."""
        to_square = _letterbox(*rgb.shape[:2])
        square = warp(rgb, to_square, INPUT_PX, INPUT_PX)
        boxes, logits = self._network(square.astype(np.float32) / np.float32(127.5) - 1)
        faces = decode_faces(boxes[0], logits[0, :, 0], min_score=_MIN_SCORE)
        to_film = inverse(to_square)
        return [
            Detection(
                box_xyxy_px=transform(to_film, box.reshape(2, 2) * INPUT_PX).reshape(4),
                points_px=transform(to_film, eyes * INPUT_PX),
                score=float(score),
            )
            for box, eyes, score in zip(faces.boxes_N4, faces.eyes_N22, faces.scores_N, strict=True)
        ]

    def close(self) -> None:
        """Drop the network; the next call loads it again."""
        self.__dict__.pop("_network", None)

    @cached_property
    def _network(self) -> Network:
        return network_of(self._task_file, self._sha256, "face_detector.tflite")


def _letterbox(height_px: int, width_px: int) -> Array:
    """Affine that fits a picture into the detector's square, with black bars."""
    zoom = INPUT_PX / max(height_px, width_px)
    margin_x, margin_y = (INPUT_PX - zoom * width_px) / 2, (INPUT_PX - zoom * height_px) / 2
    return np.array([[zoom, 0, margin_x], [0, zoom, margin_y], [0, 0, 1]])
