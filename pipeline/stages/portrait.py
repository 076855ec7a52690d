"""A picture of a person in; the crop that a network animates, and whose face it is, out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.faces.backends import FaceNetworks, networks_identity, open_networks
from pipeline.faces.largest_face import largest_face
from pipeline.films import local_film, unusable
from pipeline.reports.pixels import png
from pipeline.stage import Outcome, Resources, Result, Stage, Work
from preprocess.crop import (
    Align,
    CropConfig,
    align_points,
    crop_affines,
    crop_boxes,
    crop_centres,
    warp_crop,
)
from preprocess.landmarks.backend import Rgb
from preprocess.media.errors import UnusableFilm
from preprocess.media.picture import read_picture
from storage.identity import JSON

CROP, EMBEDDING = "crop.png", "embedding.json"
SIZE_PX = 256


@dataclass(frozen=True)
class PortraitConfig:
    """The networks that find the face and tell whose it is."""

    networks: FaceNetworks


class Portrait(Stage):
    """The nose-centred crop of a picture's largest face, and its embedding."""

    name = "portrait"
    version = 1
    libraries = ("av", "opencv-python", "ai-edge-litert")

    config: PortraitConfig

    def __init__(self, config: PortraitConfig) -> None:
        super().__init__(config)
        self.resources = Resources(cpus=1, memory_gib=1)

    def identity(self) -> JSON:
        """The networks."""
        return networks_identity(self.config.networks)

    def setup(self) -> None:
        """Open the networks."""
        self._networks = open_networks(self.config.networks)

    def process(self, batch: Sequence[Work]) -> list[Result]:
        """Look at each picture."""
        return [self._look(work) for work in batch]

    def close(self) -> None:
        """Drop the networks."""
        self._networks.close()

    def _look(self, work: Work) -> Result:
        try:
            place = local_film(str(work.item.places["film"]), work.folder / "picture")
        except UnusableFilm as found:
            return unusable(found)
        picture = read_picture(place)
        if picture is None:
            return Result(Outcome.FAILED, "not_a_picture", "it cannot be decoded")
        face = largest_face(picture, self._networks)
        if face is None:
            return Result(Outcome.FAILED, "no_face", "no face in the portrait")
        crop, embedding = work.folder / CROP, work.folder / EMBEDDING
        crop.write_bytes(png(_crop(picture, face.points5_px)))
        known: list[float] | None = None
        if embedder := self._networks.embedder:
            seen_D = np.asarray(embedder.embed(picture, face.points5_px), np.float64)
            known = (seen_D / np.linalg.norm(seen_D)).tolist()
        embedding.write_text(json.dumps(known))
        return Result(Outcome.OK, files={CROP: crop, EMBEDDING: embedding})


def _crop(picture: Rgb, points5_px: NDArray[np.floating]) -> Rgb:
    """Return the nose-centred crop, as those of films are."""
    points_152 = np.asarray(points5_px, np.float64)[None]
    alignment = align_points(points_152)
    centre_12 = crop_centres(alignment, points_152, np.zeros(1, np.int64), CropConfig())
    boxes = crop_boxes(centre_12, alignment.scale_T, Align.PER_FRAME)
    return warp_crop(picture, crop_affines(boxes, SIZE_PX)[0], SIZE_PX)
