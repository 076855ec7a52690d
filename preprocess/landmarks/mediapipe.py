"""MediaPipe's face landmarker run by LiteRT: BlazeFace, then a mesh of 478 points with irises.

Written from the published behaviour of the bundle (Spec assets.md, a): a letterboxed 128 px
detector; a square region about the face, turned so that the eyes are level and 1.5 times as large;
a 256 px mesh network with a presence score. A face just detected is passed through the mesh twice,
because the region made from a mesh is truer than the one made from a detection.
"""

import hashlib
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from preprocess.crop import inverse, transform, warp, warp_crop
from preprocess.landmarks.backend import FaceObservation, Points, Rgb
from preprocess.landmarks.blazeface import INPUT_PX, decode_faces
from preprocess.landmarks.mesh_points import EYE_CORNERS, MESH_POINTS, five_points, ibug68

_MESH_PX = 256
_ROI_SCALE = 1.5
_MIN_DETECTION = 0.5  # the bundle's own defaults
_MIN_PRESENCE = 0.5


class MediapipeLandmarks:
    """LandmarkBackend on `face_landmarker_v2.task`, one thread.

    The file is read and its sha256 compared at first use, so that `identity` needs no weights.
    Raises OSError if the file cannot be read then, ValueError if it is another file.
    """

    name = "mediapipe"
    version = "1"  # of this port: change it whenever the numbers change

    def __init__(self, task_file: Path, sha256: str) -> None:
        self._task_file = task_file
        self._sha256 = sha256

    def identity(self) -> dict[str, str]:
        """Name, version of the port, digest of the weights."""
        return {"backend": self.name, "version": self.version, "weights_sha256": self._sha256}

    def detect(self, rgb: Rgb) -> list[FaceObservation]:
        """Every face of an RGB picture [H,W,3], best detection first, whatever its presence."""
        to_square = _letterbox(*rgb.shape[:2])
        square = warp(rgb, to_square, INPUT_PX, INPUT_PX)
        detector = self._networks["face_detector.tflite"]
        boxes, logits = detector(square.astype(np.float32) / np.float32(127.5) - 1)
        faces = decode_faces(boxes[0], logits[0, :, 0], min_score=_MIN_DETECTION)
        to_film = inverse(to_square)
        observations = []
        for box, eyes in zip(faces.boxes_N4, faces.eyes_N22, strict=True):
            corners = transform(to_film, box.reshape(2, 2) * INPUT_PX)
            roi = _roi(corners, transform(to_film, eyes * INPUT_PX))
            first = self._mesh(rgb, roi)
            observations.append(self._mesh(rgb, _roi_of_mesh(first)))
        return observations

    def track(self, rgb: Rgb, previous: FaceObservation) -> FaceObservation | None:
        """Follow a face without a detector: the mesh of the frame before gives the region."""
        found = self._mesh(rgb, _roi_of_mesh(previous))
        return found if found.score >= _MIN_PRESENCE else None

    def close(self) -> None:
        """Drop the networks; the next call loads them again."""
        self.__dict__.pop("_networks", None)

    @cached_property
    def _networks(self) -> dict[str, "_Network"]:
        digest = hashlib.sha256(self._task_file.read_bytes()).hexdigest()
        if digest != self._sha256:
            raise ValueError(
                f"{self._task_file} has sha256 {digest}, expected {self._sha256}: "
                "it is not the face landmarker that was asked for"
            )
        with zipfile.ZipFile(self._task_file) as bundle:
            names = ("face_detector.tflite", "face_landmarks_detector.tflite")
            return {name: _Network(bundle.read(name)) for name in names}

    def _mesh(self, rgb: Rgb, to_crop: Points) -> FaceObservation:
        crop = warp_crop(rgb, to_crop, _MESH_PX)
        network = self._networks["face_landmarks_detector.tflite"]
        points, presence, _ = network(crop.astype(np.float32) / np.float32(255))
        mesh_V3 = points.reshape(MESH_POINTS, 3).astype(np.float64)
        to_film = inverse(to_crop)
        mesh_V3[:, :2] = transform(to_film, mesh_V3[:, :2])
        mesh_V3[:, 2] *= np.sqrt(np.linalg.det(to_film[:2, :2]))
        low, high = mesh_V3[:, :2].min(axis=0), mesh_V3[:, :2].max(axis=0)
        return FaceObservation(
            box_xyxy_px=np.r_[low, high],
            points5_px=five_points(mesh_V3[:, :2]),
            landmarks68_px=ibug68(mesh_V3[:, :2]),
            mesh_px=mesh_V3,
            score=float(1 / (1 + np.exp(-np.clip(presence.item(), -100, 100)))),
        )


class _Network:
    """One tflite network with one input: array [H,W,3] in, its outputs in order out."""

    def __init__(self, content: bytes) -> None:
        self._interpreter: Any = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [each["index"] for each in self._interpreter.get_output_details()]

    def __call__(self, picture: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        self._interpreter.set_tensor(self._input, picture[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


def _letterbox(height_px: int, width_px: int) -> Points:
    """Affine that fits a picture into the detector's square, with black bars."""
    zoom = INPUT_PX / max(height_px, width_px)
    margin_x, margin_y = (INPUT_PX - zoom * width_px) / 2, (INPUT_PX - zoom * height_px) / 2
    return np.array([[zoom, 0, margin_x], [0, zoom, margin_y], [0, 0, 1]])


def _roi(corners_22: Points, eyes_22: Points) -> Points:
    """Affine from the film to the mesh crop: centred, eyes level, 1.5 times the longer side."""
    centre = corners_22.mean(axis=0)
    side = _ROI_SCALE * max(1.0, np.max(corners_22[1] - corners_22[0]))
    along_x, along_y = eyes_22[1] - eyes_22[0]
    roll = np.arctan2(along_y, along_x)
    cos, sin = np.cos(roll), np.sin(roll)
    turn = _MESH_PX / side * np.array([[cos, sin], [-sin, cos]])
    affine = np.eye(3)
    affine[:2, :2] = turn
    affine[:2, 2] = _MESH_PX / 2 - turn @ centre
    return affine


def _roi_of_mesh(face: FaceObservation) -> Points:
    """Do the same from the landmarks of an earlier pass: their hull, and the outer eye corners."""
    if face.mesh_px is None:
        raise ValueError("the mediapipe backend can only follow faces that carry a mesh")
    (left, _), (_, right) = EYE_CORNERS
    return _roi(face.box_xyxy_px.reshape(2, 2), face.mesh_px[[left, right], :2])
