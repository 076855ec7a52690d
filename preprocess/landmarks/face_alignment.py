"""FAN of the package face-alignment: 68 landmarks from heat maps of 64 cells a side."""

import pickle
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from face_alignment import FaceAlignment, LandmarksType
from face_alignment.models import FAN
from face_alignment.utils import CENTER_Y_OFFSET, REFERENCE_SCALE, SCALE_FACTOR

from preprocess.boxes import centre
from preprocess.crop import Array, inverse, transform, warp_crop
from preprocess.landmarks.backend import Detection, FaceObservation, Rgb
from preprocess.landmarks.ibug68 import five_of_68
from preprocess.weights import check_digest

_MIN_SCORE = 0.3
_PASSES = 2  # the picture and its mirror image, whose heat maps the package adds
# What the package is given is not the film but a square about the face, twice as fine as its own
# crop: the package rounds landmarks down to whole pixels of the picture.
_REGION_PX = 512
# The package makes its crop from a box; this one makes it the whole square. The quarter pixel keeps
# what it rounds down away from whole numbers, so that its landmarks, which are multiples of 2 px
# there, stay exact.
_SIDE_PX = _REGION_PX / SCALE_FACTOR * REFERENCE_SCALE / 2
_MIDDLE_PX = np.array([_REGION_PX / 2, _REGION_PX / 2 + CENTER_Y_OFFSET * _SIDE_PX]) + 0.25
_BOX_PX = np.r_[_MIDDLE_PX - _SIDE_PX / 2, _MIDDLE_PX + _SIDE_PX / 2]


class FanLandmarks:
    """LandmarkBackend on the 2D weights of face-alignment 1.5 (`2DFAN4-11f355bf06.pth.tar`).

    Tensors only are read from the file. It is read and its sha256 compared at first use, so that
    `identity` needs no weights. Raises OSError if the file cannot be read then, ValueError if it is
    another file or holds another network.
    """

    name = "face-alignment"
    version = "1"  # of this port: change it whenever the numbers change

    def __init__(self, weights_file: Path, sha256: str) -> None:
        self._weights_file = weights_file
        self._sha256 = sha256

    def identity(self) -> dict[str, str]:
        """Name, version of the port, digest of the weights."""
        return {"backend": self.name, "version": self.version, "weights_sha256": self._sha256}

    def observe(self, rgb: Rgb, found: Detection) -> FaceObservation:
        """Return the 68 landmarks of a face just detected; score is the mean of the heat peaks."""
        return self._landmarks(rgb, found.box_xyxy_px)

    def track(self, rgb: Rgb, previous: FaceObservation) -> FaceObservation | None:
        """Look where the face was: the hull of its landmarks is the box that FAN was trained on."""
        found = self._landmarks(rgb, previous.box_xyxy_px)
        return found if found.score >= _MIN_SCORE else None

    def close(self) -> None:
        """Drop the network; the next call loads it again."""
        self.__dict__.pop("_network", None)

    @cached_property
    def _network(self) -> "_LocalFaceAlignment":
        check_digest(self._weights_file, self._sha256)
        return _LocalFaceAlignment(self._weights_file)

    def _landmarks(self, rgb: Rgb, box_xyxy_px: Array) -> FaceObservation:
        to_region = _region(box_xyxy_px)
        region = warp_crop(rgb, to_region, _REGION_PX)
        (points,), (peaks,), _ = self._network.get_landmarks_from_image(
            region, detected_faces=[_BOX_PX], return_landmark_score=True
        )
        landmarks_68_2 = transform(inverse(to_region), points.astype(np.float64))
        return FaceObservation(
            box_xyxy_px=np.r_[landmarks_68_2.min(axis=0), landmarks_68_2.max(axis=0)],
            points5_px=five_of_68(landmarks_68_2),
            landmarks68_px=landmarks_68_2,
            mesh_px=None,
            score=float(np.clip(peaks.mean() / _PASSES, 0, 1)),
        )


class _LocalFaceAlignment(FaceAlignment):  # type: ignore[misc]  # the package has no types
    """The package with a file that is here: by itself it looks for it at an address.

    Its detector that expects boxes from outside needs no weights. Compiling takes minutes and
    writes into the home folder.
    """

    def __init__(self, weights_file: Path) -> None:
        self._weights_file = weights_file
        super().__init__(LandmarksType.TWO_D, device="cpu", face_detector="folder", compile=False)

    def _load_native(
        self, network_name: str, network_size: int, device: str, dtype: torch.dtype
    ) -> FAN:
        with torch.device("meta"):
            network = FAN(network_size)
        state = _tensors(self._weights_file, device)
        try:
            network.load_state_dict(state, assign=True)
        except RuntimeError as error:
            raise ValueError(
                f"{self._weights_file} holds another network than {network_name}"
            ) from error
        return network.to(dtype).eval()


def _tensors(weights_file: Path, device: str) -> dict[str, Any]:
    with weights_file.open("rb") as file:
        try:
            content = torch.load(file, map_location=device, weights_only=True)
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"{weights_file} is no torch file, or holds more than tensors and was not opened"
            ) from error
        except (RuntimeError, OSError, EOFError, ValueError, TypeError, LookupError) as error:
            raise ValueError(f"{weights_file} is no torch file, or is damaged") from error
    if not isinstance(content, dict):
        raise ValueError(f"{weights_file} holds no network")  # noqa: TRY004  the file is wrong
    return content


def _region(box_xyxy_px: Array) -> Array:
    """Affine from the film to the square that FAN expects about a face box (Bulat 2017).

    Centred 0.12 of the box's height above its middle; side (width + height) 200 / 195.
    """
    width, height = box_xyxy_px[2:] - box_xyxy_px[:2]
    middle = centre(box_xyxy_px) - np.array([0, CENTER_Y_OFFSET * height])
    zoom = _REGION_PX / (max(1.0, width + height) * SCALE_FACTOR / REFERENCE_SCALE)
    affine = np.diag([zoom, zoom, 1.0])
    affine[:2, 2] = _REGION_PX / 2 - zoom * middle
    return affine
