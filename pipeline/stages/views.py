"""Pictures of what a trained network makes of portraits from a dataset (Spec 2.9)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.evaluation.views import PortraitViews
from model.export3d.network import Export3D
from model.geometry.orbit import PIVOT_EG3D, PIVOT_EXACT
from pipeline.evaluation.view_tables import (
    Portrait,
    Table,
    depths,
    novel_views,
    scaled_coefficients,
    shifted_coefficients,
)
from pipeline.faces.cast import PersonFaces, cast_faces
from pipeline.stage import Outcome, Resources, Result, Stage, Work
from pipeline.stages.judged import judged_dataset, judged_network
from pipeline.stages.training import device
from preprocess.face3d.cameras import CameraMode
from preprocess.media.clips import ClipReader
from preprocess.source_frame import SourceFrameConfig, find_source_frame
from storage.identity import JSON, plain

LEGEND = "views.json"
SCALED, SHIFTED = "lambda_scaled.png", "lambda_shifted.png"
NOVEL, DEPTH = "novel_views.png", "depth.png"
_CANDIDATES = 20
"""Persons that are looked at for frontal frames, at most."""


@dataclass(frozen=True)
class ViewsConfig:
    """What is shown of a network."""

    same_person: float
    """Least cosine of embeddings at which persons of two films are one; see cast_of."""
    sources: int = 3
    """Persons, at most; expressions are edited on the first."""
    source: SourceFrameConfig = field(default_factory=SourceFrameConfig)
    """Which frames may be a person's portrait."""
    seed: int = 0
    """Draws among a person's frames."""
    multipliers: tuple[float, ...] = (-7, -3, -1, 0, 1, 3, 6, 10)
    """Factors of one coefficient, over the paper's range; at 1 nothing is edited."""
    shifts_std: tuple[float, ...] = (-2, -1, 0, 1, 2)
    """What is added to one coefficient, in its stored deviations."""
    yaws_deg: tuple[float, ...] = (-25, -12.5, 0, 12.5, 25)
    """Cameras around the head, named after how the face appears."""
    pitches_deg: tuple[float, ...] = (-15, 0, 15)
    """As `yaws_deg`, up and down."""
    cell_px: int = 128
    """Side of one image in the pictures."""
    gpus: float = 0
    """Devices of a worker; changes no key."""


class Views(Stage):
    """Weights and a dataset in; edited expressions, other cameras and depth as pictures out."""

    name = "views"
    version = 2
    unit = "views"
    libraries = ("torch", "decord", "opencv-python")

    config: ViewsConfig

    def __init__(self, config: ViewsConfig) -> None:
        super().__init__(config)
        self.resources = Resources(cpus=2, gpus=config.gpus, memory_gib=3)

    def identity(self) -> JSON:
        """What is shown."""
        return {name: value for name, value in plain(self.config).items() if name != "gpus"}

    def process(self, batch: Sequence[Work]) -> list[Result]:
        """Show the network of each item."""
        return [self._show(work) for work in batch]

    def _show(self, work: Work) -> Result:
        network, dataset = judged_network(work), judged_dataset(work)
        persons, _ = cast_faces(
            work.ledger, dataset, _CANDIDATES, self.config.same_person, lambda _done, _total: None
        )
        if not persons:
            return Result(Outcome.FAILED, "no_person", "no film shows a person in a good frame")
        chosen = choose_sources(persons, self.config)
        clips = work.folder / "clips"
        clips.mkdir()
        portraits = [_portrait(work, network, source, clips) for source in chosen]
        is_exact = dataset.kind.camera_mode == CameraMode.EXACT
        pivot_3 = PIVOT_EXACT if is_exact else PIVOT_EG3D
        tables, views = self._tables(work, portraits, pivot_3)
        files = {name: work.folder / name for name in (*tables, LEGEND)}
        for name, table in tables.items():
            files[name].write_bytes(table.png(self.config.cell_px))
        legend = {
            **work.item.inputs,
            "config": self.identity(),
            "sources": [source.told() for source in chosen],
            "pictures": {name: table.legend() for name, table in tables.items()},
        }
        files[LEGEND].write_text(json.dumps(legend, indent=1), "utf-8")
        return Result(Outcome.OK, counts={"persons": len(chosen), "views": views}, files=files)

    def _tables(
        self, work: Work, portraits: Sequence[Portrait], pivot_3: NDArray[np.float64]
    ) -> tuple[dict[str, Table], int]:
        """Return the tables by file, and how many views they hold."""
        config, first = self.config, portraits[0]
        basis = len(first.views.coefficients()) if first.views.has_basis else 0
        edits = basis * (len(config.multipliers) + len(config.shifts_std))
        around = len(config.yaws_deg) * len(config.pitches_deg)
        total = len(portraits) * (1 + around) + edits
        done = 0

        def count() -> None:
            nonlocal done
            done += 1
            work.report(done, total)

        tables = {
            DEPTH: depths(portraits, count),
            NOVEL: novel_views(portraits, config.yaws_deg, config.pitches_deg, pivot_3, count),
        }
        if basis:
            tables[SCALED] = scaled_coefficients(first, config.multipliers, count)
            tables[SHIFTED] = shifted_coefficients(first, config.shifts_std, count)
        return tables, done


@dataclass(frozen=True, eq=False)
class Source:
    """The frame of a person that becomes the portrait: a row of the person's faces."""

    person: PersonFaces
    row: int

    @property
    def worst_angle_rad(self) -> float:
        """How far the head is turned from frontal."""
        return float(np.abs(self.person.rows.angles_N3[self.row]).max())

    def told(self) -> JSON:
        """Return which frame it is, as plain values."""
        rows = self.person.rows
        angles_deg = np.rad2deg(rows.angles_N3[self.row])
        return {
            "person": self.person.name,
            "clip_id": str(rows.clip_id_N[self.row]),
            "clip_frame": int(rows.clip_frame_N[self.row]),
            "angles_deg": [round(float(angle), 1) for angle in angles_deg],
        }


def choose_sources(persons: Sequence[PersonFaces], config: ViewsConfig) -> list[Source]:
    """Choose a frame of each of the first persons that have a frontal one, then of the others.

    Only the half of a person's frames with the mouth less open is drawn from: an expression that is
    edited should be a calm one (Spec 2.10.2).
    """
    sources = [Source(person, _calm_row(person, config)) for person in persons]
    limit = config.source.max_angle_rad
    return sorted(sources, key=lambda source: source.worst_angle_rad > limit)[: config.sources]


def _calm_row(person: PersonFaces, config: ViewsConfig) -> int:
    rows = person.rows
    chosen = find_source_frame(
        rows.angles_N3,
        rows.sharpness_N,
        config.source,
        config.seed,
        landmarks_TK2=rows.landmarks_NK2,
    )
    return chosen.index


def _portrait(work: Work, network: Export3D, source: Source, folder: Path) -> Portrait:
    rows, row = source.person.rows, source.row
    clip = source.person.clips[str(rows.clip_id_N[row])]
    picture = ClipReader(work.ledger.fetch(clip, folder))[int(rows.clip_frame_N[row])]
    return Portrait(
        picture=picture,
        camera_25=rows.camera_N25[row].astype(np.float64),
        views=PortraitViews(network, picture, rows.expression_NE[row], device=device()),
    )
