"""Stage 2 of pre-processing: the face in every tick of the mezzanine, or why there is none."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.stage import Outcome, Resources, Result, Stage, Work
from pipeline.stages.ingest import MEZZANINE
from preprocess.landmarks.backend import Rgb
from preprocess.landmarks.mediapipe import MediapipeLandmarks
from preprocess.media.clips import ClipReader
from preprocess.outcomes import FrameOutcome
from preprocess.tracks import Tick, TrackConfig, follow_person
from storage import assets
from storage.identity import JSON
from storage.schemas import landmarks_schema
from storage.tables import TableWriter

LANDMARKS = "landmarks.parquet"
_READ_TICKS = 16
_WRITE_TICKS = 512
"""Rows held before they are written: about 3 MB of mesh."""


@dataclass(frozen=True)
class LandmarksConfig:
    """How faces are found and followed."""

    min_score: float = TrackConfig.min_score
    """Presence, 0 to 1, below which a tick counts as low_confidence."""
    weights: str = "face_landmarker"
    """Asset with the backend's networks."""


class Landmarks(Stage):
    """Mezzanine in; one row of landmarks per tick out."""

    name = "landmarks"
    version = 1
    needs = ("ingest",)
    resources = Resources(cpus=1, memory_gib=1)
    libraries = ("ai-edge-litert", "decord", "opencv-python")

    config: LandmarksConfig

    def identity(self) -> JSON:
        """Threshold, and the backend with the digest of its weights."""
        weights = assets.weights_digest(self.config.weights)
        backend = MediapipeLandmarks(Path(), weights).identity()
        return {"min_score": self.config.min_score, "backend": dict(backend)}

    def setup(self) -> None:
        """Find the weights; the networks are loaded with the first film."""
        weights = assets.weights_digest(self.config.weights)
        self._backend = MediapipeLandmarks(assets.locate(self.config.weights), weights)

    def process(self, batch: Sequence[Work]) -> list[Result]:
        """Follow the largest face through each film."""
        return [self._follow(work) for work in batch]

    def close(self) -> None:
        """Drop the networks."""
        self._backend.close()

    def _follow(self, work: Work) -> Result:
        mezzanine = work.ledger.fetch(work.item.commits["ingest"].output(MEZZANINE), work.folder)
        reader = ClipReader(mezzanine)
        outcomes: Counter[str] = Counter()
        ticks = follow_person(
            _frames(reader),
            self._backend,
            TrackConfig(min_score=self.config.min_score),
            lambda done: work.report(done, len(reader)),
        )
        path = work.folder / LANDMARKS
        with TableWriter(path, landmarks_schema()) as table:
            rows: list[dict[str, Any]] = []
            for tick in ticks:
                outcomes[str(tick.outcome)] += 1
                rows.append(_row(tick))
                if len(rows) == _WRITE_TICKS:
                    table.write(rows)
                    rows = []
            table.write(rows)
        counts = dict(outcomes)
        if not outcomes[FrameOutcome.OK]:
            return Result(Outcome.FILTERED, "no_face", "no face in any frame", counts)
        return Result(Outcome.OK, counts=counts, files={LANDMARKS: path})


def _frames(reader: ClipReader) -> Iterator[Rgb]:
    for first in range(0, len(reader), _READ_TICKS):
        yield from reader.batch(range(first, min(first + _READ_TICKS, len(reader))))


def _row(tick: Tick) -> dict[str, Any]:
    face = tick.face
    return {
        "frame_index": tick.index,
        "outcome": str(tick.outcome),
        "score": None if face is None else face.score,
        "box": None if face is None else face.box_xyxy_px,
        "points5": None if face is None else face.points5_px,
        "landmarks": None if face is None else face.landmarks68_px,
        "mesh": None if face is None else face.mesh_px,
    }
