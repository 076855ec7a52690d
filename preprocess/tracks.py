"""Follow one person through a film and cut the film into spans (Spec 2.1.2, 2.1.4)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from preprocess.landmarks.backend import FaceObservation, LandmarkBackend, Rgb
from preprocess.landmarks.blazeface import box_iou
from preprocess.outcomes import FrameOutcome


@dataclass(frozen=True)
class TrackConfig:
    """When a face counts, and when its span ends."""

    min_score: float = 0.5  # below it the landmarks follow hair, hands or nothing
    min_iou: float = 0.25  # of neighbouring boxes; less is a cut or another person (FOMM's limit)
    max_gap_ticks: int = 5  # 0.2 s at 25 fps: a missed detection goes on, a turned head does not
    min_frames: int = 64  # FOMM's limit; contrastive training takes 33 frames of one clip
    max_frames: int = 1024  # FOMM's limit; bounds what one span holds in memory
    min_face_px: float = 128  # longer side of the face, median: less than half of a 256 px crop

    def __post_init__(self) -> None:
        for field, low in (("min_score", 0), ("min_iou", 0), ("max_gap_ticks", 0),
                           ("min_frames", 1), ("max_frames", 1), ("min_face_px", 0)):  # fmt: skip
            if getattr(self, field) < low:
                raise ValueError(f"{field} is {getattr(self, field)}; it must be at least {low}")
        if self.max_frames < self.min_frames:
            raise ValueError(
                f"max_frames is {self.max_frames}; it must be at least min_frames {self.min_frames}"
            )


@dataclass(frozen=True, eq=False)
class Tick:
    """One frame of the film: its index, how it ended, and the face if the outcome is ok."""

    index: int
    outcome: FrameOutcome
    face: FaceObservation | None


class SpanReason(StrEnum):
    """Why a span is filtered; empty for a span that is kept."""

    NONE = ""
    TOO_SHORT = "too_short"
    FACE_TOO_SMALL = "face_too_small"


@dataclass(frozen=True, eq=False)
class Span:
    """A stretch of film with one face, from its first frame to its last; gaps are inside."""

    ticks: tuple[Tick, ...]
    reason: SpanReason

    @property
    def first_tick(self) -> int:
        """Index of the first frame; it has a face."""
        return self.ticks[0].index

    @property
    def last_tick(self) -> int:
        """Index of the last frame; it has a face."""
        return self.ticks[-1].index

    @property
    def ok(self) -> bool:
        """Whether the span is kept."""
        return self.reason is SpanReason.NONE

    @property
    def faces(self) -> list[tuple[int, FaceObservation]]:
        """The frames with a face: index and observation."""
        return [(tick.index, tick.face) for tick in self.ticks if tick.face is not None]


def follow_person(
    frames: Iterable[Rgb | None],
    backend: LandmarkBackend,
    config: TrackConfig,
    report: Callable[[int], None] | None = None,
) -> Iterator[Tick]:
    """Say of every frame where the person is; one Tick a frame, nothing kept but the last face.

    The largest face of the first frame that has one is followed without a detector; when it is
    lost, the largest face that the detector then finds is. A frame given as None could not be
    decoded. `report` is called with the number of frames done.
    """
    previous: FaceObservation | None = None
    for index, rgb in enumerate(frames):
        if rgb is None:
            yield Tick(index, FrameOutcome.DECODE_ERROR, None)
        else:
            face = backend.track(rgb, previous) if previous is not None else None
            if face is None:
                face = max(backend.detect(rgb), key=_area, default=None)
            outcome = _judge(face, rgb, config)
            previous = face if outcome is FrameOutcome.OK else None
            yield Tick(index, outcome, previous)
        if report is not None:
            report(index + 1)


def cut_spans(ticks: Iterable[Tick], config: TrackConfig) -> Iterator[Span]:
    """Cut the ticks of a film into spans, each given out as soon as it has ended.

    A span ends where neighbouring boxes overlap less than `min_iou`, where the face is away for
    more than `max_gap_ticks`, or at `max_frames`. It begins and ends with a face. At most
    `max_frames` ticks are held.
    """
    held: list[Tick] = []
    gap: list[Tick] = []
    for tick in ticks:
        if tick.face is None:
            gap.append(tick)
            if len(gap) > config.max_gap_ticks and held:
                yield _close(held, config)
                held = []
            if not held:
                gap = []
            continue
        if held and _breaks(held, gap, tick.face, config):
            yield _close(held, config)
            held, gap = [], []
        held += [*gap, tick]
        gap = []
    if held:
        yield _close(held, config)


def _breaks(held: list[Tick], gap: list[Tick], face: FaceObservation, config: TrackConfig) -> bool:
    last = held[-1].face
    if last is None:
        raise AssertionError("a span is only ever extended up to a tick with a face")
    overlap = float(box_iou(last.box_xyxy_px, face.box_xyxy_px))
    return overlap < config.min_iou or len(held) + len(gap) >= config.max_frames


def _close(held: list[Tick], config: TrackConfig) -> Span:
    sides = [_longer_side(tick.face) for tick in held if tick.face is not None]
    reason = SpanReason.NONE
    if len(sides) < config.min_frames:
        reason = SpanReason.TOO_SHORT
    elif float(np.median(sides)) < config.min_face_px:
        reason = SpanReason.FACE_TOO_SMALL
    return Span(tuple(held), reason)


def _judge(face: FaceObservation | None, rgb: Rgb, config: TrackConfig) -> FrameOutcome:
    if face is None:
        return FrameOutcome.NO_FACE
    if face.score < config.min_score:
        return FrameOutcome.LOW_CONFIDENCE
    centre = face.box_xyxy_px.reshape(2, 2).mean(axis=0)
    height, width = rgb.shape[:2]
    inside = (centre >= 0).all() and (centre <= [width, height]).all()
    return FrameOutcome.OK if inside else FrameOutcome.OUT_OF_RANGE


def _longer_side(face: FaceObservation) -> float:
    low, high = face.box_xyxy_px.reshape(2, 2)
    return float((high - low).max())


def _area(face: FaceObservation) -> float:
    low, high = face.box_xyxy_px.reshape(2, 2)
    return float((high - low).prod())
