"""YuNet through OpenCV: the fallback detector for small and many faces."""

from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from preprocess.crop import Array, inverse, transform, warp
from preprocess.landmarks.backend import Detection, Rgb
from preprocess.landmarks.canvas import fit_canvas
from preprocess.weights import check_digest

_OVERLAP = 0.3  # IoU above which two boxes are one face; OpenCV's default
_CANDIDATES = 5000  # boxes kept before that; OpenCV's default
_BOX, _POINTS, _SCORE = slice(0, 4), slice(4, 14), 14


class YuNet:
    """Detector on `yunet_n_dynamic.onnx`: faces down to about 10 px of what the network sees.

    `input_px` is the longer side of that. The file is read and its sha256 compared at first use,
    so that `identity` needs no weights. Raises OSError if the file cannot be read then, ValueError
    if it is another file or no network.
    """

    name = "yunet"
    version = "1"  # of this port: change it whenever the numbers change

    def __init__(
        self, onnx_file: Path, sha256: str, *, input_px: int = 640, min_score: float = 0.6
    ) -> None:
        self._onnx_file = onnx_file
        self._sha256 = sha256
        self._input_px = input_px
        self._min_score = min_score

    def identity(self) -> dict[str, str]:
        """Name, version of the port, digest of the weights, size of the input, threshold."""
        return {
            "detector": self.name,
            "version": self.version,
            "weights_sha256": self._sha256,
            "input_px": str(self._input_px),
            "min_score": str(self._min_score),
        }

    def find(self, rgb: Rgb) -> list[Detection]:
        """Every face of an RGB picture [H,W,3], best first; each with five points."""
        to_canvas, size = fit_canvas(rgb.shape[0], rgb.shape[1], self._input_px)
        bgr = np.ascontiguousarray(warp(rgb, to_canvas, *size)[..., ::-1])
        self._network.setInputSize(size)
        _, rows = self._network.detect(bgr)
        if rows is None:
            return []
        to_film = inverse(to_canvas)
        return [
            Detection(
                box_xyxy_px=transform(to_film, _corners(row[_BOX])).reshape(4),
                points_px=transform(to_film, row[_POINTS].reshape(5, 2)),
                score=float(np.clip(row[_SCORE], 0, 1)),
            )
            for row in sorted(rows.astype(np.float64), key=lambda row: -row[_SCORE])
        ]

    def close(self) -> None:
        """Drop the network; the next call loads it again."""
        self.__dict__.pop("_network", None)

    @cached_property
    def _network(self) -> Any:
        check_digest(self._onnx_file, self._sha256)
        try:
            network = cv2.FaceDetectorYN.create(
                str(self._onnx_file), "", (32, 32), self._min_score, _OVERLAP, _CANDIDATES
            )
            network.detect(np.zeros((32, 32, 3), np.uint8))  # other networks load, and fail here
        except cv2.error as error:
            raise ValueError(f"{self._onnx_file} is no YuNet network, or is damaged") from error
        return network


def _corners(box_xywh: Array) -> Array:
    return np.array([box_xywh[:2], box_xywh[:2] + box_xywh[2:]])
