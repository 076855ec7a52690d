"""What every detector and every landmark backend gives, whatever network is behind it.

Image coordinates are continuous pixels throughout the package: (0, 0) is the top left corner of the
picture, x to the right, y down, and the centre of the first pixel is (0.5, 0.5).

Shapes: H, W picture; V mesh points (478).
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Rgb = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Detection:
    """A face that a detector found; coordinates in px of the frame.

    box_xyxy_px [4] is the detector's own box, score its confidence, 0 to 1. points_px [K,2] are the
    image-left and the image-right eye, then whatever else the detector knows (SCRFD and YuNet: nose
    tip, image-left and image-right mouth corner).
    """

    box_xyxy_px: Points
    points_px: Points
    score: float


@dataclass(frozen=True, eq=False)
class FaceObservation:
    """One face in one frame; coordinates in px of that frame.

    box_xyxy_px [4] is the hull of the landmarks (the detector's box where there are five points).
    points5_px [5,2] are image-left eye, image-right eye, nose tip, image-left and image-right mouth
    corner (the order of Spec 2.2.2); an eye is the mean of its two corners (Spec 2.2.1).
    landmarks68_px [68,2] follow the iBUG scheme; None where a backend has five points only. mesh_px
    [V,3] has z in px on the scale of x, growing away from the viewer; None where a backend has no
    mesh. score is the backend's own confidence, 0 to 1.
    """

    box_xyxy_px: Points
    points5_px: Points
    landmarks68_px: Points | None
    mesh_px: Points | None
    score: float


class Detector(Protocol):
    """Finds the faces of a picture."""

    name: str

    def identity(self) -> dict[str, str]:
        """Everything that decides the numbers: weight digests and the version of the port."""
        ...

    def find(self, rgb: Rgb) -> list[Detection]:
        """Every face of an RGB picture [H,W,3], best score first; empty when there is none."""
        ...

    def close(self) -> None:
        """Give back what the network holds."""
        ...


class LandmarkBackend(Protocol):
    """Finds the landmarks of faces; keeps nothing from one frame to the next."""

    name: str

    def identity(self) -> dict[str, str]:
        """Everything that decides the numbers: weight digests and the version of the port."""
        ...

    def observe(self, rgb: Rgb, found: Detection) -> FaceObservation:
        """Return the landmarks of a face just detected, with the confidence that it is one."""
        ...

    def track(self, rgb: Rgb, previous: FaceObservation) -> FaceObservation | None:
        """Return the face of the frame before, in the next one; None when it is lost."""
        ...

    def close(self) -> None:
        """Give back what the networks hold."""
        ...


def observe_all(rgb: Rgb, detector: Detector, backend: LandmarkBackend) -> list[FaceObservation]:
    """Return the landmarks of every face of a picture [H,W,3] by itself, best detection first."""
    return [backend.observe(rgb, found) for found in detector.find(rgb)]
