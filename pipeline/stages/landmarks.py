"""Stage 2 of pre-processing: every face in every tick of the mezzanine, or why there is none."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.faces.backends import FaceNetworks, networks_identity, open_networks
from pipeline.stage import Outcome, Resources, Result, Stage, Work
from pipeline.stages.ingest import MEZZANINE, TICKS
from preprocess.media.clips import read_in_order
from preprocess.outcomes import FrameOutcome
from preprocess.people.follow import FollowConfig, Follower, Tick
from preprocess.people.persons import persons_of
from storage.identity import JSON, plain
from storage.schemas import landmarks_schema, ticks_schema, tracks_schema
from storage.tables import TableWriter, read_table, write_table

LANDMARKS = "landmarks.parquet"
TRACKS = "tracks.parquet"
Row = dict[str, Any]

_WRITE_ROWS = 512
"""Rows held before they are written: about 3 MB of mesh."""


@dataclass(frozen=True)
class LandmarksConfig:
    """How faces are found, followed and told apart."""

    networks: FaceNetworks = field(default_factory=FaceNetworks)
    follow: FollowConfig = field(default_factory=FollowConfig)
    same_person: float = 0.48
    """Mean cosine of embeddings from which on two tracks of a film are one person. Between means of
    clips mobilefacenet_128 gives one person 0.59 and more, others 0.38 and less."""


class Landmarks(Stage):
    """Mezzanine in; one row of landmarks per tick and face, and the tracks these belong to, out."""

    name = "landmarks"
    version = 2
    needs = ("ingest",)
    resources = Resources(cpus=1, memory_gib=1)
    libraries = (
        "ai-edge-litert",
        "decord",
        "dlib-bin",
        "insightface",
        "onnxruntime",
        "opencv-python",
    )

    config: LandmarksConfig

    def identity(self) -> JSON:
        """Thresholds, and the networks with the digests of their weights."""
        return {**plain(self.config), "networks": networks_identity(self.config.networks)}

    def setup(self) -> None:
        """Find the weights; the networks are loaded with the first film."""
        self._networks = open_networks(self.config.networks)

    def process(self, batch: Sequence[Work]) -> list[Result]:
        """Follow the faces through each film."""
        return [self._follow(work) for work in batch]

    def close(self) -> None:
        """Drop the networks."""
        self._networks.close()

    def _follow(self, work: Work) -> Result:
        ingest = work.item.commits["ingest"]
        mezzanine = work.ledger.fetch(ingest.output(MEZZANINE), work.folder)
        ticks = work.ledger.fetch(ingest.output(TICKS), work.folder)
        shots = read_table(ticks, ticks_schema())["shot"].to_pylist()
        follower = Follower(
            self._networks.detectors,
            self._networks.landmarks,
            self._networks.embedder,
            self.config.follow,
        )
        files = {name: work.folder / name for name in (LANDMARKS, TRACKS)}
        frames = read_in_order(mezzanine)
        seen = follower.follow(frames, shots, lambda done: work.report(done, len(shots)))
        counts = _write_ticks(seen, files[LANDMARKS])
        persons = persons_of(follower.tracks, self.config.same_person)
        rows = [
            {
                "track": track.number,
                "person": person,
                "shot": track.shot,
                "first_tick": track.first_tick,
                "last_tick": track.last_tick,
                "frames": track.frames,
                "embedding": track.embedding_D,
            }
            for track, person in zip(follower.tracks, persons, strict=True)
        ]
        write_table(files[TRACKS], rows, tracks_schema())
        if not rows:
            return Result(Outcome.FILTERED, "no_face", "no face in any frame", counts)
        return Result(Outcome.OK, counts=counts, files=files)


def _write_ticks(ticks: Iterable[Tick], path: Path) -> dict[str, int]:
    """Write a row for every sighting; return the ticks by outcome."""
    outcomes: Counter[FrameOutcome] = Counter()
    with TableWriter(path, landmarks_schema()) as table:
        rows: list[Row] = []
        for tick in ticks:
            outcomes[tick.outcome] += 1
            rows += _rows(tick)
            if len(rows) >= _WRITE_ROWS:
                table.write(rows)
                rows = []
        table.write(rows)
    return {str(outcome): count for outcome, count in outcomes.items()}


def _rows(tick: Tick) -> Iterator[Row]:
    for sighting in tick.sightings:
        face = sighting.face
        yield {
            "frame_index": tick.index,
            "track": sighting.track,
            "outcome": str(sighting.outcome),
            "score": None if face is None else face.score,
            "box": None if face is None else face.box_xyxy_px,
            "points5": None if face is None else face.points5_px,
            "landmarks": None if face is None else face.landmarks68_px,
            "mesh": None if face is None else face.mesh_px,
        }
