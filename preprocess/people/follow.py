"""Follow every face of a film from frame to frame.

A track is one face without a break, within one shot. Detection is dear, so it runs only now and
then; in between the landmarks of the frame before say where to look.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from preprocess.boxes import box_iou, centre, is_inside, longer_side
from preprocess.landmarks.backend import (
    Detection,
    Detector,
    FaceObservation,
    LandmarkBackend,
    Points,
    Rgb,
)
from preprocess.outcomes import FrameOutcome

_SAME_PLACE_IOU = 0.3  # more overlap is one face found twice


class Embedder(Protocol):
    """Says who a face is, as a direction."""

    def identity(self) -> dict[str, str]:
        """Everything that decides the numbers: weight digests and the version of the port."""
        ...

    def embed(self, rgb: Rgb, points5_px: Points) -> npt.NDArray[np.floating]:
        """Return a vector [D] of length 1 for the face with these five points."""
        ...

    def close(self) -> None:
        """Give back what the network holds."""
        ...


@dataclass(frozen=True)
class FollowConfig:
    """When a face counts, how often faces are looked for, and when a track ends."""

    min_score: float = 0.5
    """Presence, 0 to 1, below which the landmarks follow hair, hands or nothing."""
    min_iou: float = 0.25
    """Of the boxes in neighbouring frames; less is another face (FOMM's limit)."""
    max_gap_ticks: int = 5
    """0.2 s at 25 fps: a missed detection goes on, a turned head does not."""
    detect_every_ticks: int = 8
    """0.3 s at 25 fps: so late, at most, is a face noticed that comes in beside another one."""
    max_faces: int = 6
    """Largest first: each costs 10 ms a frame, and a crowd gives no clips."""
    min_face_px: float = 48
    """Longer side; smaller faces are not followed, since nothing can be learnt from them."""
    min_likeness: float = 0.3
    """Cosine of a face's embedding with its track's mean, below which it is another person's. With
    mobilefacenet_128 one frame in a thousand of the same person has less than 0.48, one in a
    thousand of others has more than 0.34."""
    embed_every_ticks: int = 25
    """Once a second, and whenever the face moves fast: an embedding costs 7 ms."""

    def __post_init__(self) -> None:
        for name, low in (("min_score", 0), ("min_iou", 0), ("max_gap_ticks", 0),
                          ("detect_every_ticks", 1), ("max_faces", 1), ("min_face_px", 0),
                          ("min_likeness", -1), ("embed_every_ticks", 1)):  # fmt: skip
            if getattr(self, name) < low:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {low}")


@dataclass(frozen=True, eq=False)
class Sighting:
    """A face in one frame; or, without a track, why the frame has none that can be used."""

    outcome: FrameOutcome
    track: int | None = None
    face: FaceObservation | None = None


@dataclass(frozen=True, eq=False)
class Tick:
    """One frame of the film: its faces by track number, or one sighting that says why not."""

    index: int
    sightings: tuple[Sighting, ...]

    @property
    def outcome(self) -> FrameOutcome:
        """How the frame ended: ok where one face can be used."""
        return self.sightings[0].outcome


@dataclass(eq=False)
class Track:
    """One face without a break. last_tick is the newest frame so far."""

    number: int
    shot: int
    first_tick: int
    last_tick: int
    face: FaceObservation
    frames: int = 1
    embedding_sum: npt.NDArray[np.float64] | None = None
    embedded_tick: int = field(default=-(10**9))

    @property
    def embedding_D(self) -> npt.NDArray[np.float64] | None:
        """Mean direction of its embeddings, of length 1; None without an embedder."""
        if self.embedding_sum is None:
            return None
        mean: npt.NDArray[np.float64] = self.embedding_sum / np.linalg.norm(self.embedding_sum)
        return mean


_MOVING_IOU = 0.6  # a head that turns or nods keeps more: then a cut may have been missed


class Follower:
    """Follows the faces of one film. `tracks` is complete once all frames have been given out."""

    def __init__(
        self,
        detectors: Sequence[Detector],
        backend: LandmarkBackend,
        embedder: Embedder | None,
        config: FollowConfig,
    ) -> None:
        """Take detectors in order: the first looks whenever it must, the others at intervals."""
        self._detectors = detectors
        self._backend = backend
        self._embedder = embedder
        self._config = config
        self.tracks: list[Track] = []
        self._live: list[Track] = []
        self._resting: list[Track] = []
        self._shot = -1
        self._shot_first = 0

    def follow(
        self,
        frames: Iterable[Rgb],
        shots: Iterable[int],
        report: Callable[[int], None] | None = None,
    ) -> Iterator[Tick]:
        """Say of every frame which faces it has; `shots` gives the shot of each frame.

        `report` is called with the number of frames done.
        """
        for index, (rgb, shot) in enumerate(zip(frames, shots, strict=False)):
            if shot != self._shot:
                self._shot, self._shot_first = shot, index
                self._live, self._resting = [], []
            yield Tick(index, self._look(index, rgb))
            if report is not None:
                report(index + 1)

    def _look(self, index: int, rgb: Rgb) -> tuple[Sighting, ...]:
        rejected: list[Sighting] = []
        before = self._live
        self._live = []
        for track in before:
            self._go_on(track, index, rgb, rejected)
        lost = [track for track in before if track.last_tick < index]
        self._resting += lost
        due = (index - self._shot_first) % self._config.detect_every_ticks == 0
        if due or lost or not self._live:
            self._search(index, rgb, self._detectors if due else self._detectors[:1], rejected)
        longest = self._config.max_gap_ticks
        self._resting = [t for t in self._resting if index - t.last_tick <= longest]
        seen = sorted(self._live, key=lambda track: track.number)
        if seen:
            return tuple(Sighting(FrameOutcome.OK, track.number, track.face) for track in seen)
        return (min(rejected, key=_promise, default=Sighting(FrameOutcome.NO_FACE)),)

    def _go_on(self, track: Track, index: int, rgb: Rgb, rejected: list[Sighting]) -> None:
        """Find a track's face in the next frame; it stays live, or becomes another one."""
        face = self._backend.track(rgb, track.face)
        if face is None:
            return
        outcome = self._judge(face, rgb)
        if outcome is not FrameOutcome.OK:
            rejected.append(Sighting(outcome, face=face))
            return
        overlap = float(box_iou(track.face.box_xyxy_px, face.box_xyxy_px))
        if overlap >= self._config.min_iou and not self._is_followed(face):
            self._keep(track, face, index, rgb, suspicious=overlap < _MOVING_IOU)

    def _search(
        self, index: int, rgb: Rgb, detectors: Sequence[Detector], rejected: list[Sighting]
    ) -> None:
        """Look for faces that are not followed yet, the largest first."""
        found = [detection for detector in detectors for detection in detector.find(rgb)]
        for detection in sorted(found, key=lambda one: -longer_side(one.box_xyxy_px)):
            if len(self._live) >= self._config.max_faces or self._covers(detection):
                continue
            if longer_side(detection.box_xyxy_px) < self._config.min_face_px:
                rejected.append(Sighting(FrameOutcome.OUT_OF_RANGE))
                continue
            face = self._backend.observe(rgb, detection)
            outcome = self._judge(face, rgb)
            if outcome is not FrameOutcome.OK:
                rejected.append(Sighting(outcome, face=face))
            elif not self._is_followed(face):
                self._take_up(face, index, rgb)

    def _take_up(self, face: FaceObservation, index: int, rgb: Rgb) -> None:
        """Go on with a track that was lost near here a moment ago, else begin one."""
        overlaps = [float(box_iou(face.box_xyxy_px, t.face.box_xyxy_px)) for t in self._resting]
        if overlaps and max(overlaps) >= self._config.min_iou:
            track = self._resting.pop(int(np.argmax(overlaps)))
            self._keep(track, face, index, rgb, suspicious=True)
        else:
            self._begin(face, index, self._embed(face, rgb))

    def _keep(
        self, track: Track, face: FaceObservation, index: int, rgb: Rgb, *, suspicious: bool
    ) -> None:
        """Go on with a track, unless its face is another person's now."""
        if suspicious or index - track.embedded_tick >= self._config.embed_every_ticks:
            embedding = self._embed(face, rgb)
            known = track.embedding_D
            if embedding is not None and known is not None:
                if float(embedding @ known) < self._config.min_likeness:
                    self._begin(face, index, embedding)
                    return
                _add(track, embedding, index)
        track.face, track.last_tick = face, index
        track.frames += 1
        self._live.append(track)

    def _begin(
        self, face: FaceObservation, index: int, embedding: npt.NDArray[np.float64] | None
    ) -> None:
        track = Track(len(self.tracks), self._shot, index, index, face)
        if embedding is not None:
            _add(track, embedding, index)
        self.tracks.append(track)
        self._live.append(track)

    def _embed(self, face: FaceObservation, rgb: Rgb) -> npt.NDArray[np.float64] | None:
        if self._embedder is None:
            return None
        return np.asarray(self._embedder.embed(rgb, face.points5_px), np.float64)

    def _judge(self, face: FaceObservation, rgb: Rgb) -> FrameOutcome:
        if face.score < self._config.min_score:
            return FrameOutcome.LOW_CONFIDENCE
        height, width = rgb.shape[:2]
        inside = is_inside(centre(face.box_xyxy_px), np.array([0, 0, width, height], np.float64))
        return FrameOutcome.OK if inside else FrameOutcome.OUT_OF_RANGE

    def _is_followed(self, face: FaceObservation) -> bool:
        return any(
            float(box_iou(face.box_xyxy_px, track.face.box_xyxy_px)) > _SAME_PLACE_IOU
            for track in self._live
        )

    def _covers(self, found: Detection) -> bool:
        middle = centre(found.box_xyxy_px)
        return any(is_inside(middle, track.face.box_xyxy_px) for track in self._live)


def _add(track: Track, embedding: npt.NDArray[np.float64], index: int) -> None:
    before = 0 if track.embedding_sum is None else track.embedding_sum
    track.embedding_sum = before + embedding
    track.embedded_tick = index


def _promise(sighting: Sighting) -> int:
    """Order of reasons for a frame without a usable face: the nearest to being one comes first."""
    order = (FrameOutcome.LOW_CONFIDENCE, FrameOutcome.OUT_OF_RANGE, FrameOutcome.NO_FACE)
    return order.index(sighting.outcome)
