"""Single frames of clips and films for a report: pictures, how they ended, and their landmarks.

Shapes: K landmarks, 68 or, with some networks, 5.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import DatasetVersion, FilmEntry
from pipeline.faces.rows import FRAMES
from pipeline.reports.pictures import Image, spread
from pipeline.reports.survey import ClipFacts, has_output
from pipeline.stages.crop import CROPS
from pipeline.stages.face_stretches import spans_of
from pipeline.stages.ingest import MEZZANINE
from pipeline.stages.landmarks import LANDMARKS
from preprocess.media.clips import ClipReader
from preprocess.outcomes import FrameOutcome
from storage.ledger import Ledger
from storage.schemas import crops_schema, frames_schema, landmarks_schema
from storage.store import NotInStore
from storage.tables import read_rows

Array = NDArray[np.float64]

_MEZZANINE_BYTES = 100_000_000
"""Of larger films no whole frame is shown: for one frame all of the copy would be fetched."""


@dataclass(frozen=True, eq=False)
class ClipFrame:
    """One frame of a clip.

    affine_33 takes film px to crop px, box_xyxy [4] is the crop in film px, points_K2 are the
    landmarks in film px, where known.
    """

    picture: Image
    tick: int
    outcome: str
    reason: str
    affine_33: Array
    box_xyxy: Array
    points_K2: Array | None


@dataclass(frozen=True, eq=False)
class ClipView:
    """Some frames of a clip by their number in it, and the outcomes of all of its frames."""

    frames: Mapping[int, ClipFrame]
    outcomes: Sequence[str]

    def worst(self) -> ClipFrame:
        """Return the frame in the middle of those that were rejected, else of all."""
        shown = list(self.frames.values())
        rejected = [frame for frame in shown if frame.outcome != FrameOutcome.OK]
        chosen = rejected or shown
        return chosen[len(chosen) // 2]


def view_clip(
    ledger: Ledger, version: DatasetVersion, clip: ClipFacts, at_most: int, folder: Path
) -> ClipView:
    """Read up to `at_most` frames of a clip, spread over those rejected and those not."""
    crop = ledger.expect("crop", clip.film.keys["crop"])
    span = spans_of(crop)[clip.number]
    reader = ClipReader(ledger.fetch(crop.output(span["clip"]), folder))
    ends = _ends(ledger, version, clip, folder, len(reader))
    outcomes = [str(end["outcome"]) for end in ends]
    chosen = choose([outcome != FrameOutcome.OK for outcome in outcomes], at_most)
    columns = ("frame_index", "span", "clip_frame", "crop_affine", "box_centre", "box_side")
    table = ledger.fetch(crop.output(CROPS), folder)
    crops = {
        row["clip_frame"]: row
        for row in read_rows(table, crops_schema(), columns)
        if row["span"] == clip.number and row["clip_frame"] in chosen
    }
    wanted = {(row["frame_index"], span["track"]) for row in crops.values()}
    points = {
        row["frame_index"]: _points(row)
        for row in _landmark_rows(
            ledger, clip.film, folder, lambda row: (row["frame_index"], row["track"]) in wanted
        )
    }
    frames = {}
    for number in chosen:
        row = crops[number]
        half_2 = np.full(2, row["box_side"] / 2)
        frames[number] = ClipFrame(
            picture=reader[number],
            tick=row["frame_index"],
            outcome=outcomes[number],
            reason=str(ends[number]["reason"]),
            affine_33=np.asarray(row["crop_affine"]).reshape(3, 3),
            box_xyxy=np.r_[row["box_centre"] - half_2, row["box_centre"] + half_2],
            points_K2=points.get(row["frame_index"]),
        )
    return ClipView(frames, outcomes)


def choose(is_rejected_T: Sequence[bool], at_most: int) -> list[int]:
    """Choose frames to show: of the rejected and of the others in proportion, two of each kind."""
    kinds = [
        [t for t, rejected in enumerate(is_rejected_T) if rejected is kind]
        for kind in (True, False)
    ]
    if not all(kinds):
        return spread(len(is_rejected_T), at_most)
    share = round(at_most * len(kinds[0]) / len(is_rejected_T))
    parts = min(max(share, 2), at_most - 2)
    rooms = (parts, at_most - parts)
    shown = [
        kind[i] for kind, room in zip(kinds, rooms, strict=True) for i in spread(len(kind), room)
    ]
    return sorted(shown)


def film_frame(ledger: Ledger, film: FilmEntry, tick: int | None, folder: Path) -> Image | None:
    """Return a frame of a film, the middle one by default.

    None for a film that was not decoded, whose copy is large, or has been removed from the store.
    """
    if "ingest" not in film.keys:
        return None
    ingest = ledger.expect("ingest", film.keys["ingest"])
    if not has_output(ingest, MEZZANINE) or ingest.output(MEZZANINE).size > _MEZZANINE_BYTES:
        return None
    try:
        reader = ClipReader(ledger.fetch(ingest.output(MEZZANINE), folder))
    except NotInStore:  # a life-cycle rule may expire these copies
        return None
    return np.array(reader[len(reader) // 2 if tick is None else tick])


def faces_of_film(ledger: Ledger, film: FilmEntry, folder: Path) -> tuple[int | None, list[Array]]:
    """Return a tick in the middle of those with faces, and the landmarks [K,2] of its faces."""
    if "landmarks" not in film.keys:
        return None, []
    rows = _landmark_rows(ledger, film, folder, lambda row: _points(row) is not None)
    ticks = [row["frame_index"] for row in rows]
    if not ticks:
        return None, []
    middle = ticks[len(ticks) // 2]
    rows = _landmark_rows(ledger, film, folder, lambda row: row["frame_index"] == middle)
    return middle, [points for row in rows if (points := _points(row)) is not None]


def _ends(
    ledger: Ledger, version: DatasetVersion, clip: ClipFacts, folder: Path, frames: int
) -> list[dict[str, Any]]:
    """Return outcome and reason of every frame of a clip."""
    lost = {"outcome": FrameOutcome.OUT_OF_RANGE, "reason": clip.row["reason"]}
    ends = [lost] * frames
    faces = ledger.expect("face3d", clip.film.keys["face3d"])
    if has_output(faces, FRAMES):
        table = ledger.fetch(faces.output(FRAMES), folder)
        columns = ("clip_id", "clip_frame", "outcome", "reason")
        for row in read_rows(table, frames_schema(version.kind.widths), columns):
            if row["clip_id"] == clip.row["clip_id"]:
                ends[row["clip_frame"]] = row
    return ends


def _landmark_rows(
    ledger: Ledger, film: FilmEntry, folder: Path, is_wanted: Callable[[dict[str, Any]], bool]
) -> Iterator[dict[str, Any]]:
    commit = ledger.expect("landmarks", film.keys["landmarks"])
    if not has_output(commit, LANDMARKS):
        return
    path = folder / LANDMARKS
    if not path.exists():
        ledger.fetch(commit.output(LANDMARKS), folder)
    columns = ("frame_index", "track", "points5", "landmarks")
    yield from filter(is_wanted, read_rows(path, landmarks_schema(), columns))


def _points(row: Mapping[str, Any]) -> Array | None:
    found = row["points5"] if row["landmarks"] is None else row["landmarks"]
    return None if found is None else np.asarray(found, np.float64).reshape(-1, 2)
