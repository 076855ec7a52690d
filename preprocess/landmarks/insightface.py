"""SCRFD of the package insightface: a detector, and the five points that it finds as landmarks."""

from functools import cached_property
from pathlib import Path

import numpy as np
from insightface.model_zoo.scrfd import SCRFD

from preprocess.boxes import box_iou, centre, longer_side
from preprocess.crop import Array, inverse, transform, warp
from preprocess.landmarks.backend import Detection, FaceObservation, Rgb
from preprocess.landmarks.canvas import STEP_PX, fit_canvas
from preprocess.onnx_session import open_session

_MIN_SCORE = 0.5  # the package's default
_OVERLAP = 0.4  # IoU above which two boxes are one face; the package's default
_OUTPUTS = (9, 15)  # scores, boxes and points of three or five strides
_COARSER = 4
_REGION_PX = 160
_REGION_SCALE = 2.0
_MIN_IOU = 0.3


class Scrfd:
    """Detector on any SCRFD file with five points, such as `scrfd_500m_bnkps.onnx`, one thread.

    `input_px` is the longer side of what the network sees. It sees a quarter of that as well:
    faces above 400 px are too large for it (a face that fills the picture is not found at 640 px,
    and is at 160). A file of fixed input size sees the picture once, at its own. The file is read
    and its sha256 compared at first use, so that `identity` needs no weights. Raises OSError if the
    file cannot be read then, ValueError if it is another file or no SCRFD.
    """

    name = "scrfd"
    version = "1"  # of this port: change it whenever the numbers change

    def __init__(self, onnx_file: Path, sha256: str, *, input_px: int = 640) -> None:
        self._onnx_file = onnx_file
        self._sha256 = sha256
        self._input_px = input_px

    def identity(self) -> dict[str, str]:
        """Name, version of the port, digest of the weights, size of the input."""
        return {
            "detector": self.name,
            "version": self.version,
            "weights_sha256": self._sha256,
            "input_px": str(self._input_px),
        }

    def find(self, rgb: Rgb) -> list[Detection]:
        """Every face of an RGB picture [H,W,3], best first; each with five points."""
        fine = self._find(rgb, self._input_px)
        if self._network.static_input_size is not None:
            return fine
        return _best_of_each(fine + self._find(rgb, self._input_px // _COARSER))

    def close(self) -> None:
        """Drop the network; the next call loads it again."""
        self.__dict__.pop("_network", None)

    def _find(self, rgb: Rgb, input_px: int) -> list[Detection]:
        return _found(self._network, rgb, *fit_canvas(rgb.shape[0], rgb.shape[1], input_px))

    @cached_property
    def _network(self) -> SCRFD:
        return _network_of(self._onnx_file, self._sha256)


class ScrfdLandmarks:
    """LandmarkBackend of five points, on the same files as `Scrfd`; no mesh, no 68 points.

    The file is read and its sha256 compared at first use, so that `identity` needs no weights.
    Raises OSError if the file cannot be read then, ValueError if it is another file or no SCRFD.
    """

    name = "insightface"
    version = "1"  # of this port: change it whenever the numbers change

    def __init__(self, onnx_file: Path, sha256: str) -> None:
        self._onnx_file = onnx_file
        self._sha256 = sha256

    def identity(self) -> dict[str, str]:
        """Name, version of the port, digest of the weights."""
        return {"backend": self.name, "version": self.version, "weights_sha256": self._sha256}

    def observe(self, rgb: Rgb, found: Detection) -> FaceObservation:  # noqa: ARG002
        """Keep the five points of the detector.

        Raises ValueError if the detector gave other points than five.
        """
        if found.points_px.shape != (5, 2):
            raise ValueError(
                "the insightface backend takes its points from the detector, and needs one that "
                f"gives five (scrfd, yunet); this one gave {len(found.points_px)}"
            )
        return _observation(found)

    def track(self, rgb: Rgb, previous: FaceObservation) -> FaceObservation | None:
        """Find the face again in a square twice its size about its last place.

        It is the one whose box overlaps the last one most; None if none does by 0.3 IoU.
        """
        to_region = _region(previous.box_xyxy_px)
        near = _found(self._network, rgb, to_region, (_REGION_PX, _REGION_PX))
        if not near:
            return None
        ious = box_iou(previous.box_xyxy_px, np.stack([each.box_xyxy_px for each in near]))
        best = int(np.argmax(ious))
        return _observation(near[best]) if ious[best] >= _MIN_IOU else None

    def close(self) -> None:
        """Drop the network; the next call loads it again."""
        self.__dict__.pop("_network", None)

    @cached_property
    def _network(self) -> SCRFD:
        return _network_of(self._onnx_file, self._sha256)


def _network_of(onnx_file: Path, sha256: str) -> SCRFD:
    session = open_session(onnx_file, sha256)
    if len(session.get_outputs()) not in _OUTPUTS:
        raise ValueError(
            f"{onnx_file} is no SCRFD network with five points: it has "
            f"{len(session.get_outputs())} outputs, not {' or '.join(map(str, _OUTPUTS))}"
        )
    # One session serves all sizes: films differ, and a session for each of theirs would add up.
    network = SCRFD(str(onnx_file), session, static_shape_sessions=False)
    network.prepare(0, nms_thresh=_OVERLAP, det_thresh=_MIN_SCORE)
    return network


def _found(network: SCRFD, rgb: Rgb, to_canvas: Array, size: tuple[int, int]) -> list[Detection]:
    """Faces of a picture under an affine [3,3] to the network's input; px of the picture."""
    if network.static_input_size is not None:
        to_canvas, size = _refit(to_canvas, size, network.static_input_size)
    else:
        size = unresized(*size)
    bgr = np.ascontiguousarray(warp(rgb, to_canvas, *size)[..., ::-1])
    boxes_N5, points_N52 = network.detect(bgr, input_size=size)
    to_film = inverse(to_canvas)
    return [
        Detection(
            box_xyxy_px=transform(to_film, row[:4].reshape(2, 2)).reshape(4),
            points_px=transform(to_film, points),
            score=float(np.clip(row[4], 0, 1)),
        )
        for row, points in zip(boxes_N5.astype(np.float64), points_N52, strict=True)
    ]


def unresized(width_px: int, height_px: int) -> tuple[int, int]:
    """Width and height of an input that the package takes as it is.

    It computes the height from the quotient of both, and a few sizes come out one pixel short
    (352 x 480): these are made wider.
    """
    while int(width_px * (height_px / width_px)) != height_px:
        width_px += STEP_PX
    return width_px, height_px


def _best_of_each(faces: list[Detection]) -> list[Detection]:
    """Of boxes that are one face the best, best first."""
    kept: list[Detection] = []
    for face in sorted(faces, key=lambda each: -each.score):
        if all(box_iou(face.box_xyxy_px, each.box_xyxy_px) <= _OVERLAP for each in kept):
            kept.append(face)
    return kept


def _refit(
    to_canvas: Array, size: tuple[int, int], fixed: tuple[int, int]
) -> tuple[Array, tuple[int, int]]:
    """Let a file of fixed input size see the same part of the picture at that size."""
    zoom = min(fixed[0] / size[0], fixed[1] / size[1])
    return np.diag([zoom, zoom, 1.0]) @ to_canvas, fixed


def _region(box_xyxy_px: Array) -> Array:
    """Affine to a square canvas about a box, twice its longer side."""
    zoom = _REGION_PX / (_REGION_SCALE * max(1.0, longer_side(box_xyxy_px)))
    affine = np.diag([zoom, zoom, 1.0])
    affine[:2, 2] = _REGION_PX / 2 - zoom * centre(box_xyxy_px)
    return affine


def _observation(found: Detection) -> FaceObservation:
    return FaceObservation(
        box_xyxy_px=found.box_xyxy_px,
        points5_px=found.points_px,
        landmarks68_px=None,
        mesh_px=None,
        score=found.score,
    )
