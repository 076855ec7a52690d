"""Who a face is: ArcFace embeddings through the package insightface."""

from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from insightface.utils.face_align import arcface_dst

from preprocess.crop import Array, warp_crop
from preprocess.landmarks.backend import Points, Rgb
from preprocess.onnx_session import open_session
from preprocess.people.alignment import similarity

Embedding = npt.NDArray[np.float32]
_UNITS_PX = (112, 128)  # the package's templates are for whole multiples of these


class FaceEmbedder:
    """Unit vectors whose inner product says how alike two faces are, on any ArcFace ONNX file.

    The file is read and its sha256 compared at first use, so that `identity` needs no weights.
    Raises OSError if the file cannot be read then, ValueError if it is another file or no network
    from one square aligned face to one vector.
    """

    name = "arcface"
    version = "1"  # of this port: change it whenever the numbers change

    def __init__(self, onnx_file: Path, sha256: str) -> None:
        self._onnx_file = onnx_file
        self._sha256 = sha256

    def identity(self) -> dict[str, str]:
        """Name, version of the port, digest of the weights."""
        return {"embedder": self.name, "version": self.version, "weights_sha256": self._sha256}

    def embed(self, rgb: Rgb, points5_px: Points) -> Embedding:
        """Unit vector [D] of the face with these five points [5,2], in px of the picture [H,W,3].

        Raises ValueError if the points do not lie as those of a face, say all in one place.
        """
        network = self._network
        side_px = network.input_size[0]
        face = warp_crop(rgb, similarity(points5_px, _template(side_px)), side_px)
        feature = np.asarray(network.get_feat(face[..., ::-1]), np.float32).ravel()
        unit: Embedding = feature / max(float(np.linalg.norm(feature)), 1e-12)
        return unit.astype(np.float32)

    def close(self) -> None:
        """Drop the network; the next call loads it again."""
        self.__dict__.pop("_network", None)

    @cached_property
    def _network(self) -> ArcFaceONNX:
        session = open_session(self._onnx_file, self._sha256)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        shape = inputs[0].shape
        if (
            (len(inputs), len(outputs), len(shape)) != (1, 1, 4)
            or not (isinstance(shape[3], int) and shape[2] == shape[3])
            or all(shape[3] % unit for unit in _UNITS_PX)
        ):
            raise ValueError(
                f"{self._onnx_file} is no ArcFace network: it does not take one square picture of "
                "112 or 128 px, or a multiple, to one vector"
            )
        return ArcFaceONNX(str(self._onnx_file), session)


def _template(side_px: int) -> Array:
    """Five points [5,2] of an aligned face, as the package has them for 112 px and for 128.

    The package counts pixels by their centres, from 0; we count from their corners.
    """
    unit_px = next(unit for unit in _UNITS_PX if side_px % unit == 0)
    margin_px = (unit_px - _UNITS_PX[0]) / 2
    zoom = side_px / unit_px
    template: Array = (arcface_dst.astype(np.float64) + np.array([margin_px, 0])) * zoom + 0.5
    return template
