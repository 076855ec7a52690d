"""Cut what was followed into spans: stretches of one person that can become clips (Spec 2.1.2)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from preprocess.boxes import longer_side
from preprocess.landmarks.backend import FaceObservation
from preprocess.people.follow import Tick


@dataclass(frozen=True)
class SpanConfig:
    """Which stretches are kept, and where long ones are divided."""

    max_gap_ticks: int = 5
    """0.2 s at 25 fps without the face; that of the follower, or less."""
    min_frames: int = 64
    """FOMM's limit; contrastive training takes 33 frames of one clip."""
    max_frames: int = 1024
    """FOMM's limit; bounds what one span holds in memory."""
    min_face_px: float = 128
    """Longer side of the face, median: less than half of a 256 px crop."""

    def __post_init__(self) -> None:
        for name, low in (("max_gap_ticks", 0), ("min_frames", 1), ("max_frames", 1),
                          ("min_face_px", 0)):  # fmt: skip
            if getattr(self, name) < low:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {low}")
        if self.max_frames < self.min_frames:
            raise ValueError(
                f"max_frames is {self.max_frames}; it must be at least min_frames {self.min_frames}"
            )


class SpanReason(StrEnum):
    """Why a span is filtered; empty for a span that is kept."""

    NONE = ""
    TOO_SHORT = "too_short"
    FACE_TOO_SMALL = "face_too_small"


@dataclass(frozen=True, eq=False)
class Span:
    """A stretch of one track: the frames with its face, ascending; short gaps may lie between."""

    track: int
    faces: tuple[tuple[int, FaceObservation], ...]
    reason: SpanReason

    @property
    def first_tick(self) -> int:
        """Index of the first frame."""
        return self.faces[0][0]

    @property
    def last_tick(self) -> int:
        """Index of the last frame."""
        return self.faces[-1][0]

    @property
    def is_ok(self) -> bool:
        """Whether the span is kept."""
        return self.reason is SpanReason.NONE


def cut_spans(ticks: Iterable[Tick], config: SpanConfig) -> Iterator[Span]:
    """Cut the ticks of a film into spans, each given out as soon as it has ended.

    A span ends where its face is away for more than `max_gap_ticks`, with its track, or when it is
    `max_frames` long. At most `max_frames` faces of each track at a time are held.
    """
    open_spans: dict[int, list[tuple[int, FaceObservation]]] = {}
    for tick in ticks:
        for track in [t for t, faces in open_spans.items() if _is_over(faces, tick.index, config)]:
            yield _close(track, open_spans.pop(track), config)
        for sighting in tick.sightings:
            if sighting.track is not None and sighting.face is not None:
                open_spans.setdefault(sighting.track, []).append((tick.index, sighting.face))
    for track, faces in open_spans.items():
        yield _close(track, faces, config)


def _is_over(faces: list[tuple[int, FaceObservation]], index: int, config: SpanConfig) -> bool:
    (first, _), (last, _) = faces[0], faces[-1]
    return index - last > config.max_gap_ticks + 1 or index - first >= config.max_frames


def _close(track: int, faces: list[tuple[int, FaceObservation]], config: SpanConfig) -> Span:
    reason = SpanReason.NONE
    if len(faces) < config.min_frames:
        reason = SpanReason.TOO_SHORT
    elif np.median([longer_side(face.box_xyxy_px) for _, face in faces]) < config.min_face_px:
        reason = SpanReason.FACE_TOO_SMALL
    return Span(track, tuple(faces), reason)
