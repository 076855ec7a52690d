"""The one face of a picture that is meant where only one can be."""

from pipeline.faces.backends import OpenNetworks
from preprocess.boxes import longer_side
from preprocess.landmarks.backend import FaceObservation, Rgb, observe_all


def largest_face(picture: Rgb, networks: OpenNetworks) -> FaceObservation | None:
    """Return the largest face that the first detector who sees any finds; None where none does."""
    for detector in networks.detectors:
        if faces := observe_all(picture, detector, networks.landmarks):
            return max(faces, key=lambda face: longer_side(face.box_xyxy_px))
    return None
