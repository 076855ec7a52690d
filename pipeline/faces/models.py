"""Which face model gives the coefficients: from its name in a recipe to a fit of one clip.

Shapes: T frames of a clip with a face, K landmarks, V mesh points.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from preprocess.crop import Alignment
from preprocess.face3d import mesh478
from preprocess.face3d.mesh478 import Coefficients
from preprocess.landmarks.backend import Rgb
from storage import assets
from storage.identity import JSON, digest_file
from storage.schemas import FaceWidths

Array = NDArray[np.float64]


class FaceModelName(StrEnum):
    """The face models there are."""

    MESH478 = "mesh478"
    BFM = "bfm"


@dataclass(frozen=True, eq=False)
class ClipFaces:
    """What a face model may look at: one clip's faces, in px of the film.

    points_TK2 are 68 landmarks, or five where the backend has no more; mesh_TV3 is None where it
    has none; pictures gives the film's own pictures, one after the other.
    """

    points_TK2: Array
    mesh_TV3: Array | None
    alignment: Alignment
    pictures: Callable[[], Iterator[Rgb]]


class FaceModel(Protocol):
    """A face model that is ready to fit."""

    widths: FaceWidths

    def fit(self, faces: ClipFaces) -> tuple[Coefficients, Mapping[str, Any]]:
        """Return pose, identity and expression, and the columns that this model alone has.

        Of these, a matrix [T, ...] has a row for each frame, a vector is the clip's.
        """
        ...


def identity_of(name: FaceModelName) -> JSON:
    """Return everything of the model that decides the numbers.

    Raises AssetError for files of the user's that are missing.
    """
    if name is FaceModelName.MESH478:
        return {"face_model": str(name), "sha256": digest_file(mesh478.SHIPPED)}
    from preprocess.face3d import bfm  # noqa: PLC0415  torch is imported where it is wanted

    return {**bfm.identity(_bfm_files())}


def widths_of(name: FaceModelName) -> FaceWidths:
    """Return the widths of the model's coefficients; reads no file of the user's."""
    if name is FaceModelName.MESH478:
        face = mesh478.read_mesh478().face
        return FaceWidths(str(name), len(face.identity_IV3), len(face.expression_EV3), 0, 0)
    from model.geometry.bfm import WIDTHS  # noqa: PLC0415  torch is imported where it is wanted

    return FaceWidths(**WIDTHS._asdict())


def memory_gib_of(name: FaceModelName) -> float:
    """Return what a worker needs to fit clips."""
    return {FaceModelName.MESH478: 1.0, FaceModelName.BFM: 2.0}[name]


def open_face_model(name: FaceModelName) -> FaceModel:
    """Return the model, ready to fit. Raises AssetError or ValueError for unusable files."""
    return _Mesh478() if name is FaceModelName.MESH478 else _Bfm()


class _Mesh478:
    def __init__(self) -> None:
        self.widths = widths_of(FaceModelName.MESH478)
        self._model = mesh478.read_mesh478()

    def fit(self, faces: ClipFaces) -> tuple[Coefficients, Mapping[str, Any]]:
        if faces.mesh_TV3 is None:
            raise ValueError("mesh478 is fitted to meshes, and there are none")
        return mesh478.fit_clip(self._model, faces.mesh_TV3, faces.alignment), {}


class _Bfm:
    def __init__(self) -> None:
        from preprocess.face3d import bfm  # noqa: PLC0415  torch is imported where it is wanted

        self.widths = widths_of(FaceModelName.BFM)
        self._fit_clip = bfm.fit_clip
        files = _bfm_files()
        self._model = bfm.read_bfm_model(files, bfm.identity(files))

    def fit(self, faces: ClipFaces) -> tuple[Coefficients, Mapping[str, Any]]:
        fitted = self._fit_clip(self._model, faces.pictures(), faces.points_TK2, faces.alignment)
        return fitted, {"texture": fitted.texture_X, "gamma": fitted.gamma_TG}


def _bfm_files() -> Any:
    from preprocess.face3d.bfm import BfmFiles  # noqa: PLC0415  see above

    try:
        face = assets.locate("bfm09")
    except assets.AssetMissing as missing:
        try:
            face = assets.locate("bfm09_original")
        except assets.AssetMissing:
            raise missing from None
    return BfmFiles(face.parent, assets.locate("deep3dfacerecon"))
