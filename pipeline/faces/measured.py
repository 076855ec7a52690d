"""What a dataset's own networks measure in pictures: landmarks, coefficients, identity.

Generated frames, driving frames and sources all come as square pictures of the network's size and
go the same way: to 256 px where they are smaller, through detector and landmarks as a film's frames
do when a face is found, and together through the face model as the frames of one clip.

Shape suffixes: T frames, H, W, C picture, K points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.evaluation.metrics import POINTS_PX, Bytes, Floats
from model.evaluation.reenactment import MeasuredFrames
from pipeline.faces.backends import FaceNetworks, open_networks
from pipeline.faces.largest_face import largest_face
from pipeline.faces.models import ClipFaces, FaceModelName, open_face_model
from pipeline.stages.rendering import grown
from preprocess.crop import CANONICAL_K3, align_points
from preprocess.landmarks.backend import FaceObservation, Rgb
from preprocess.outcomes import FrameOutcome


@dataclass(frozen=True, eq=False)
class SeenFace:
    """A picture of 256 px or more and the face in it; or, without one, why there is none."""

    picture: Rgb
    outcome: FrameOutcome
    face: FaceObservation | None = None
    embedding_D: NDArray[np.float64] | None = None


class FaceMeter:
    """The networks and the face model of a dataset, opened once."""

    def __init__(self, networks: FaceNetworks, face_model: FaceModelName, min_score: float) -> None:
        """Raise AssetError for weights that lack; `min_score` is the least presence of a face."""
        self._networks = open_networks(networks)
        self._model = open_face_model(face_model)
        self._min_score = min_score
        self._points = 5 if networks.landmarks == "insightface" else 68

    def close(self) -> None:
        """Drop the networks."""
        self._networks.close()

    def look(self, images_THWC: Bytes) -> list[SeenFace]:
        """Return the largest face in each picture, with its landmarks and embedding."""
        return [self._look(image) for image in images_THWC]

    def measured(self, images_THWC: Bytes, seen: Sequence[SeenFace]) -> MeasuredFrames:
        """Return the pictures with what was seen in them, fitted together as one clip of a person.

        Frames without a face are NaN.
        """
        found = [t for t, one in enumerate(seen) if one.face is not None]
        faces = [(one.picture, one.face) for one in seen if one.face is not None]
        expressions = self._model.widths.expression
        points_TK2 = np.full((len(seen), self._points, 2), np.nan)
        fitted_TX = np.full((len(seen), expressions + 6), np.nan)
        if faces:
            points_TK2[found] = [_points_px(*one) for one in faces]
            fitted_TX[found] = self._fit(faces)
        return MeasuredFrames(
            images_THWC=images_THWC,
            points_TK2=points_TK2,
            expression_TE=fitted_TX[:, :expressions],
            angles_T3=fitted_TX[:, expressions : expressions + 3],
            translation_T3=fitted_TX[:, expressions + 3 :],
            embedding_TD=self._embeddings(seen),
        )

    def _look(self, image: Rgb) -> SeenFace:
        picture = grown(image, max(POINTS_PX, image.shape[0]))
        face = largest_face(picture, self._networks)
        if face is None:
            return SeenFace(picture, FrameOutcome.NO_FACE)
        if face.score < self._min_score:
            return SeenFace(picture, FrameOutcome.LOW_CONFIDENCE)
        embedder = self._networks.embedder
        embedding = None
        if embedder is not None:
            embedding = np.asarray(embedder.embed(picture, face.points5_px), np.float64)
        return SeenFace(picture, FrameOutcome.OK, face, embedding)

    def _fit(self, faces: Sequence[tuple[Rgb, FaceObservation]]) -> Floats:
        """Return expression, angles and translation side by side, a row for each face."""
        found = [face for _, face in faces]
        mesh_TV3 = None
        if found[0].mesh_px is not None:
            mesh_TV3 = np.array([face.mesh_px for face in found], np.float64)
        clip = ClipFaces(
            points_TK2=np.array([_landmarks(face) for face in found], np.float64),
            mesh_TV3=mesh_TV3,
            alignment=align_points(np.array([face.points5_px for face in found], np.float64)),
            pictures=lambda: (picture for picture, _ in faces),
        )
        fitted, _ = self._model.fit(clip)
        rows = np.c_[fitted.expression_TE, fitted.angles_T3, fitted.translation_T3]
        return np.asarray(rows, np.float64)

    def _embeddings(self, seen: Sequence[SeenFace]) -> Floats | None:
        if self._networks.embedder is None:
            return None
        embedding_TD = np.full((len(seen), self._embedding_dims), np.nan)
        for t, one in enumerate(seen):
            if one.embedding_D is not None:
                embedding_TD[t] = one.embedding_D
        return embedding_TD

    @cached_property
    def _embedding_dims(self) -> int:
        """Numbers of an embedding: those of a black picture with five points of a face in it."""
        if self._networks.embedder is None:
            return 0
        points_52 = POINTS_PX / 2 + POINTS_PX / 4 * CANONICAL_K3[:, :2] * (1, -1)
        black = np.zeros((POINTS_PX, POINTS_PX, 3), np.uint8)
        return len(self._networks.embedder.embed(black, points_52))


def _landmarks(face: FaceObservation) -> Floats:
    """68 landmarks, or the five of a backend that has no more."""
    return face.points5_px if face.landmarks68_px is None else face.landmarks68_px


def _points_px(picture: Rgb, face: FaceObservation) -> Floats:
    """Return the landmarks in px of a picture of 256 px."""
    return np.asarray(_landmarks(face) * (POINTS_PX / picture.shape[0]), np.float64)
