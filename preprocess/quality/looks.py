"""What the crops of one clip look like: sharpness and occlusion, collected frame by frame.

Shapes: T frames, V mesh points, N texels of the face's map.
"""

import functools

import numpy as np
import numpy.typing as npt

from preprocess.crop import transform
from preprocess.face3d.mesh478 import read_mesh478
from preprocess.landmarks.backend import FaceObservation
from preprocess.quality.occlusion import FaceColours, FaceMap, face_map, occlusion, sample_face
from preprocess.quality.sharpness import face_sharpness

Array = npt.NDArray[np.float64]
Rgb = npt.NDArray[np.uint8]


class ClipLooks:
    """Takes the crops of a clip in order; some 3 kB a frame are kept."""

    def __init__(self) -> None:
        self._sharpness: list[float] = []
        self._colours: list[Rgb] = []
        self._facing: list[npt.NDArray[np.float32]] = []
        self._presence: list[float] = []

    def see(self, crop: Rgb, affine_33: Array, face: FaceObservation) -> None:
        """Take the next crop, its affine from film px, and the face as it was found in the film."""
        points5_52 = transform(affine_33, face.points5_px)
        eyes_px = float(np.linalg.norm(points5_52[1] - points5_52[0]))
        box_22 = transform(affine_33, face.box_xyxy_px.reshape(2, 2))
        self._sharpness.append(face_sharpness(crop, box_22.reshape(4), eyes_px))
        if face.mesh_px is not None:
            mesh_V3 = face.mesh_px * affine_33[0, 0]
            mesh_V3[:, :2] = transform(affine_33, face.mesh_px[:, :2])
            colours, facing = sample_face(crop, mesh_V3, _texels())
            self._colours.append(colours)
            self._facing.append(facing)
            self._presence.append(face.score)

    def sharpness(self) -> Array:
        """Return edge widths between the eyes [T]."""
        return np.array(self._sharpness)

    def occlusion(self) -> Array:
        """Return the covered part of the skin [T]; 0 where the backend has no mesh to tell by."""
        if not self._colours:
            return np.zeros(len(self._sharpness))
        colours = FaceColours(np.stack(self._colours), np.stack(self._facing))
        return occlusion(colours, np.array(self._presence), _texels())


@functools.cache
def _texels() -> FaceMap:
    return face_map(read_mesh478().face.mean_V3)
