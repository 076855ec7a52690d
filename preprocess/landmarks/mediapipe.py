"""MediaPipe's face mesh of 478 points run by LiteRT, from a detection or the frame before.

Written from the published behaviour of the bundle (Spec assets.md, a): a square region about the
face, turned so that the eyes are level and 1.5 times as large; a 256 px mesh network with a
presence score. A face just detected is passed through the mesh twice, because the region made from
a mesh is truer than the one made from a detection.
"""

from functools import cached_property
from pathlib import Path

import numpy as np

from preprocess.crop import inverse, transform, warp_crop
from preprocess.landmarks.backend import Detection, FaceObservation, Points, Rgb
from preprocess.landmarks.litert import Network, network_of
from preprocess.landmarks.mesh_points import EYE_CORNERS, MESH_POINTS, five_points, ibug68

MESH_MEMBER = "face_landmarks_detector.tflite"
_MESH_PX = 256
_ROI_SCALE = 1.5
_MIN_PRESENCE = 0.5  # the bundle's own default


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

    def observe(self, rgb: Rgb, found: Detection) -> FaceObservation:
        """Return the landmarks of a face just detected, whatever its presence."""
        first = self._mesh(rgb, _roi(found.box_xyxy_px.reshape(2, 2), found.points_px[:2]))
        return self._mesh(rgb, _roi_of_mesh(first))

    def track(self, rgb: Rgb, previous: FaceObservation) -> FaceObservation | None:
        """Follow a face without a detector: the mesh of the frame before gives the region."""
        found = self._mesh(rgb, _roi_of_mesh(previous))
        return found if found.score >= _MIN_PRESENCE else None

    def close(self) -> None:
        """Drop the network; the next call loads it again."""
        self.__dict__.pop("_network", None)

    @cached_property
    def _network(self) -> Network:
        return network_of(self._task_file, self._sha256, MESH_MEMBER)

    def _mesh(self, rgb: Rgb, to_crop: Points) -> FaceObservation:
        crop = warp_crop(rgb, to_crop, _MESH_PX)
        points, presence, _ = self._network(crop.astype(np.float32) / np.float32(255))
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
