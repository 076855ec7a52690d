"""The rows of a film's landmarks sorted by clips, one clip at a time in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.identity import digest
from storage.ledger import Commit
from storage.schemas import crops_schema, landmarks_schema
from storage.tables import read_group, read_rows

Row = dict[str, Any]

_LOOSE_ROWS = 1024


@dataclass(frozen=True)
class Stretch:
    """Rows of one clip: of landmarks and of crops alike; or, without a clip, of none."""

    landmarks: list[Row]
    crops: list[Row] = field(default_factory=list)
    clip_id: str | None = None
    person: int | None = None


def stretches(landmarks: Path, crops: Path, crop: Commit) -> Iterator[Stretch]:
    """Sort the rows of landmarks by clips; a clip comes when its last row has been read.

    At most the open clips are held in memory: one of each face in the picture.
    """
    spans = spans_of(crop)
    kept = [number for number, span in enumerate(spans) if span["clip"]]  # a group of rows each
    by_track: dict[int, list[int]] = {}
    for number in sorted(kept, key=lambda one: spans[one]["first_tick"]):
        by_track.setdefault(spans[number]["track"], []).append(number)
    held: dict[int, list[Row]] = {}
    loose: list[Row] = []
    for row in read_rows(landmarks, landmarks_schema()):
        span = _span_at(row, by_track, spans)
        if span is None:
            loose.append({**row, "mesh": None})
        else:
            held.setdefault(span, []).append(row)
        is_last = span is not None and row["frame_index"] == spans[span]["last_tick"]
        if loose and (is_last or len(loose) == _LOOSE_ROWS):
            yield Stretch(loose)
            loose = []
        if span is not None and is_last:
            clip_id, person = clip_id_of(crop, span), spans[span]["person"]
            own = read_group(crops, crops_schema(), kept.index(span))
            yield Stretch(held.pop(span), own, clip_id, person)
    if loose:
        yield Stretch(loose)


def spans_of(crop: Commit) -> list[Row]:
    """Return what the crop stage says of each span, kept or filtered."""
    spans: Any = crop.info["spans"]
    return list(spans)


def clip_id_of(crop: Commit, span: int) -> str:
    """Return the id of the clip of a span: it follows from what the clip was made of."""
    return digest([crop.key, span])[:32]


def _span_at(row: Row, by_track: dict[int, list[int]], spans: Sequence[Row]) -> int | None:
    """Return the kept span that a row belongs to; those behind it are dropped from `by_track`."""
    ahead = by_track.get(row["track"], [])
    while ahead and row["frame_index"] > spans[ahead[0]]["last_tick"]:
        ahead.pop(0)
    if ahead and row["frame_index"] >= spans[ahead[0]]["first_tick"]:
        return ahead[0]
    return None
