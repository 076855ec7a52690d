"""What every landmark backend gives, whatever network is behind it.

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
class FaceObservation:
    """One face in one frame; coordinates in px of that frame.

    box_xyxy_px [4] is the hull of the landmarks. points5_px [5,2] are image-left eye, image-right
    eye, nose tip, image-left and image-right mouth corner (the order of Spec 2.2.2); an eye is the
    mean of its two corners (Spec 2.2.1). landmarks68_px [68,2] follow the iBUG scheme. mesh_px
    [V,3] has z in px on the scale of x, growing away from the viewer; None where a backend has no
    mesh. score is the backend's own confidence, 0 to 1.
    """

    box_xyxy_px: Points
    points5_px: Points
    landmarks68_px: Points
    mesh_px: Points | None
    score: float


class LandmarkBackend(Protocol):
    """Finds faces and their landmarks; one object serves one stream of frames at a time."""

    name: str

    def identity(self) -> dict[str, str]:
        """Everything that decides the numbers: weight digests and the version of the port."""
        ...

    def detect(self, rgb: Rgb) -> list[FaceObservation]:
        """Every face of an RGB picture [H,W,3], best score first; empty when there is none."""
        ...

    def track(self, rgb: Rgb, previous: FaceObservation) -> FaceObservation | None:
        """The face of the frame before, in the next one; None when it is lost."""
        ...

    def close(self) -> None:
        """Give back what the networks hold."""
        ...
