"""What a dataset consists of, read from its tables film by film, so that memory stays small."""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.dataset import DatasetVersion, FilmEntry
from pipeline.faces.rows import CLIPS, FRAMES
from pipeline.reports.frame_sample import SCORES, FrameSample, FrameSampler
from pipeline.reports.pictures import spread
from pipeline.scratch import scratch_folder
from pipeline.stages.face_stretches import clip_id_of, spans_of
from preprocess.outcomes import FrameOutcome
from storage.ledger import Commit, Ledger
from storage.schemas import clips_schema, frames_schema
from storage.tables import read_rows

WORST_CLIPS = 24
_CLIPS_OF_ONE_FILM = 3
"""Of the worst clips; more only where there are few films, so that one film does not fill them."""
_SAMPLED_FILMS = 400
_SAMPLED_FRAMES = 40_000
_WORST_FILMS = 100
"""Films whose clips are looked at for the worst ones, beside those that are sampled."""
_CLIP_COLUMNS = (
    *("clip_id", "person", "shot", "frames", "first_frame", "last_frame", "first_pts_s"),
    *("last_pts_s", "face_px", "clip_key", "outcome", "reason"),
)


@dataclass
class ClipFacts:
    """A clip that was cut out, kept or filtered: how its frames ended, and their mean scores.

    outcomes count its frames; they are empty where the store has no table of them.
    """

    film: FilmEntry
    number: int
    row: Mapping[str, Any]
    """Of the table `clips`."""
    outcomes: Counter[str] = field(default_factory=Counter)
    sums: Counter[str] = field(default_factory=Counter)
    scored: Counter[str] = field(default_factory=Counter)

    def see(self, row: Mapping[str, Any]) -> None:
        """Take in one of its rows of `frames`."""
        self.outcomes[row["outcome"]] += 1
        for name in SCORES:
            if row[name] is not None and row[name] == row[name]:
                self.sums[name] += row[name]
                self.scored[name] += 1

    @property
    def frames(self) -> int:
        """Number of its frames."""
        return int(self.row["frames"])

    @property
    def lost(self) -> int:
        """Number of its frames that are not ok."""
        return self.frames - self.outcomes["ok"]

    def mean(self, score: str) -> float | None:
        """Return the mean of one of SCORES; None where no frame has it."""
        return self.sums[score] / self.scored[score] if self.scored[score] else None

    def rank(self) -> tuple[float, ...]:
        """Return what sorts clips, the worst first."""
        sharpness = self.mean("sharpness")
        return (
            -self.lost / self.frames,
            -(self.mean("reprojection_iod") or 0.0),
            -(self.mean("occlusion") or 0.0),
            float("inf") if sharpness is None else sharpness,
        )


@dataclass(frozen=True)
class FilmFacts:
    """A film: its clips by reason ("ok" for those that are kept), persons in kept clips, ticks.

    ticks count all of its ticks by outcome; they are empty for a film that was not decoded.
    """

    entry: FilmEntry
    clips: Mapping[str, int]
    persons: int
    ticks: Mapping[str, int]
    ok_s: float
    """Length of all ticks that are ok, in seconds."""

    def rank(self) -> tuple[Any, ...]:
        """Return what sorts films, the worst first."""
        worst_first = ("crashed", "failed", "filtered", "ok")
        return (worst_first.index(self.entry.outcome), _ok_share(self.ticks), self.entry.name)


@dataclass(frozen=True)
class Survey:
    """What a version consists of; films and clips are sorted, the worst first."""

    name: str
    version: DatasetVersion
    films: list[FilmFacts]
    worst_clips: list[ClipFacts]
    sample: FrameSample


def survey_dataset(ledger: Ledger, name: str, version: DatasetVersion) -> Survey:
    """Read the tables of a version.

    Counts are of all films. Frames are read of a bounded number of films, and a bounded number of
    them is kept. Raises StoreError where the store has lost what the dataset lists.
    """
    chosen = [version.ok_films[index] for index in spread(len(version.ok_films), _SAMPLED_FILMS)]
    stride = -(-sum(film.counts.get("ok", 0) for film in chosen) // _SAMPLED_FRAMES) or 1
    sampler = FrameSampler(stride, version.kind.widths)
    sampled = {film.source_id for film in chosen}
    with_clips = [film for film in version.films if "face3d" in film.keys]
    worst = heapq.nsmallest(_WORST_FILMS, with_clips, key=lambda film: _ok_share(film.counts))
    looked_at = sampled | {film.source_id for film in worst}
    of_one_film = max(_CLIPS_OF_ONE_FILM, -(-WORST_CLIPS // max(1, len(with_clips))))
    films: list[FilmFacts] = []
    worst_clips: list[ClipFacts] = []
    for film in version.films:
        with scratch_folder() as folder:
            tables = _FilmTables(ledger, version, film, folder)
            films.append(tables.facts())
            if film.source_id in looked_at:
                clips = tables.cut_clips(sampler if film.source_id in sampled else None)
                clips = heapq.nsmallest(of_one_film, clips, key=ClipFacts.rank)
                worst_clips = heapq.nsmallest(
                    WORST_CLIPS, [*worst_clips, *clips], key=ClipFacts.rank
                )
    films.sort(key=FilmFacts.rank)
    return Survey(name, version, films, worst_clips, sampler.sample())


def has_output(commit: Commit, name: str) -> bool:
    """Whether a commit has an output of this name."""
    return any(output.name == name for output in commit.outputs)


class _FilmTables:
    """The tables of one film, copied into a folder as they are needed."""

    def __init__(
        self, ledger: Ledger, version: DatasetVersion, film: FilmEntry, folder: Path
    ) -> None:
        self._ledger, self._film, self._folder = ledger, film, folder
        self._widths = version.kind.widths
        self._faces = (
            ledger.expect("face3d", film.keys["face3d"]) if "face3d" in film.keys else None
        )
        self._clips = list(self._clip_rows())

    def facts(self) -> FilmFacts:
        kept = [row for row in self._clips if row["outcome"] == "ok"]
        clips = Counter(row["reason"] or "ok" for row in self._clips)
        if self._film.stage == "crop":  # no clip was cut: its commit counts the spans by reason
            clips.update(_spans_by_reason(self._film.counts))
        ticks = self._ticks()
        steps = sum(row["last_frame"] - row["first_frame"] for row in self._clips)
        length_s = sum(row["last_pts_s"] - row["first_pts_s"] for row in self._clips)
        return FilmFacts(
            entry=self._film,
            clips=clips,
            persons=len({row["person"] for row in kept}),
            ticks=ticks,
            ok_s=ticks.get("ok", 0) * length_s / steps if steps else 0.0,
        )

    def cut_clips(self, sampler: FrameSampler | None) -> list[ClipFacts]:
        """Return the clips that have a file; give the rows of `frames` to the sampler as well."""
        clips = {
            row["clip_id"]: ClipFacts(self._film, number, row)
            for number, row in enumerate(self._clips)
            if row["clip_key"]
        }
        if self._faces is not None and has_output(self._faces, FRAMES):
            path = self._ledger.fetch(self._faces.output(FRAMES), self._folder)
            columns = ("clip_id", *FrameSampler.COLUMNS)
            for row in read_rows(path, frames_schema(self._widths), columns):
                clip = clips.get(row["clip_id"])
                if clip is not None:
                    clip.see(row)
                    if sampler is not None:
                        sampler.see(row, clip.row["face_px"])
            if sampler is not None:
                sampler.films += 1
        return list(clips.values())

    def _clip_rows(self) -> Iterator[Mapping[str, Any]]:
        if self._faces is None:
            return
        if has_output(self._faces, CLIPS):
            path = self._ledger.fetch(self._faces.output(CLIPS), self._folder)
            yield from read_rows(path, clips_schema(self._widths), _CLIP_COLUMNS)
            return
        # A film whose clips were all filtered may have no tables; what was cut is known from crop.
        crop = self._ledger.expect("crop", self._film.keys["crop"])
        keys = {output.name: output.key for output in crop.outputs}
        for number, span in enumerate(spans_of(crop)):
            yield {
                "clip_id": clip_id_of(crop, number),
                "person": span["person"],
                "shot": span["shot"],
                "frames": span["frames"],
                "first_frame": span["first_tick"],
                "last_frame": span["last_tick"],
                "first_pts_s": 0.0,
                "last_pts_s": 0.0,
                "face_px": span["face_px"],
                "clip_key": keys.get(span["clip"]),
                "outcome": "filtered",
                "reason": span["reason"] or self._film.reason,
            }

    def _ticks(self) -> Mapping[str, int]:
        """Return the film's ticks by outcome; where no clip was cut, faces are out of range."""
        if self._film.stage in {"landmarks", "face3d"}:
            return self._film.counts
        if self._film.stage != "crop":
            return {}
        found = Counter(self._ledger.expect("landmarks", self._film.keys["landmarks"]).counts)
        found[FrameOutcome.OUT_OF_RANGE.value] += found.pop("ok", 0)
        return dict(found)


def _spans_by_reason(counts: Mapping[str, int]) -> dict[str, int]:
    return {
        name.removeprefix("spans_"): count
        for name, count in counts.items()
        if name.startswith("spans_")
    }


def _ok_share(ticks: Mapping[str, int]) -> float:
    return ticks.get("ok", 0) / max(1, sum(ticks.values()))
