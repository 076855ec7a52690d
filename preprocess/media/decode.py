"""Decoding of any film in presentation order with true times."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from preprocess.media.colour import RgbConverter, RgbImage, matrix_for
from preprocess.media.errors import FilmReason, UnusableFilm
from preprocess.media.source import (
    declared_end_s,
    display_of,
    open_film,
    pixel_aspect,
    time_base_of,
    video_stream,
)

# A clock that steps back by more than this is a splice of two recordings, not a stray time stamp.
_CLOCK_JUMP_S = 1.0
# x264's limit; some encoders mark all pictures as B, and the wait must end.
_LONGEST_B_RUN = 16
# A film may end earlier than its container says by this much before it counts as cut short.
_EARLY_END_S = 1.0


@dataclass(frozen=True)
class DecodedFrame:
    """One picture of a film.

    pts: presentation time in units of time_base, on the container's own clock (its start is kept).
    rgb: uint8 [H, W, 3], upright, square pixels.
    """

    pts: int
    time_base: Fraction
    rgb: RgbImage

    @property
    def time_s(self) -> Fraction:
        """Exact presentation time in seconds."""
        return self.pts * self.time_base

    @property
    def pts_s(self) -> float:
        """Presentation time in seconds, as tables hold it."""
        return float(self.time_s)


@dataclass
class DecodeReport:
    """What happened while a film was decoded; filled in as its frames are taken.

    frames: good frames given out. leading_errors: packets and pictures before the first good frame
    that could not be decoded (a recording cut in the middle of a group of pictures starts so).
    dropped: frames whose time stamp did not come after their predecessor's. damage: one sentence
    about why decoding stopped before the film's end, empty for a whole film.
    """

    frames: int = 0
    leading_errors: int = 0
    dropped: int = 0
    damage: str = ""


def decode_film(path: Path, report: DecodeReport | None = None) -> Iterator[DecodedFrame]:
    """Decode a film's first video stream, a handful of frames in memory at a time.

    Decoding stops at the first damage: what follows would be built on broken references. All good
    frames before it are given out and the damage is told in `report`. Interlaced pictures stay
    woven, HDR pictures are not tone-mapped (probe_film tells both). Pictures of another size than
    the first are scaled to it. Raises UnusableFilm when there is not one good frame.
    """
    report = DecodeReport() if report is None else report
    with open_film(path) as container:
        stream = video_stream(container)
        time_base = time_base_of(stream)
        convert: RgbConverter | None = None
        for frame, pts in _good_frames(container, stream, report):
            if convert is None:
                display = display_of(frame, pixel_aspect(stream))
                matrix = matrix_for(frame.colorspace, frame.height)
                convert = RgbConverter(*display.scaled_stored_px, matrix)
            yield DecodedFrame(pts, time_base, display.upright(convert(frame)))


def frame_times(path: Path, report: DecodeReport | None = None) -> tuple[Fraction, list[int]]:
    """(time_base, pts of every frame that decode_film gives), without making the pictures."""
    report = DecodeReport() if report is None else report
    with open_film(path) as container:
        stream = video_stream(container)
        return time_base_of(stream), [pts for _, pts in _good_frames(container, stream, report)]


def first_frame(container: InputContainer, stream: VideoStream) -> av.VideoFrame:
    """Return the first good picture; raises UnusableFilm when there is none."""
    frame, _ = next(_good_frames(container, stream, DecodeReport()))
    return frame


def _good_frames(
    container: InputContainer, stream: VideoStream, report: DecodeReport
) -> Iterator[tuple[av.VideoFrame, int]]:
    clock = _Clock(time_base_of(stream), stream.guessed_rate)
    for frame in _whole_pictures(container, stream, report):
        pts, jump = clock.place(frame)
        if jump:
            report.damage = jump
            break
        if pts is None:
            report.dropped += 1
            continue
        report.frames += 1
        yield frame, pts
    if report.frames == 0:
        raise UnusableFilm(FilmReason.UNDECODABLE, "not one picture of the film can be decoded")
    if not report.damage:
        report.damage = clock.early_end(declared_end_s(container, stream))
    if report.damage:
        report.damage = f"only the first {report.frames} frames are good: {report.damage}"


def _whole_pictures(
    container: InputContainer, stream: VideoStream, report: DecodeReport
) -> Iterator[av.VideoFrame]:
    """Whole pictures until the end or the first damage.

    A damaged picture that is shown after a B-picture may have been decoded before it and spoilt it.
    So a run of B-pictures waits until the picture that ends it has come out whole.
    """
    waiting: list[av.VideoFrame] = []
    for frame in _pictures(container, stream, report):
        waiting.append(frame)
        if frame.pict_type != PictureType.B or len(waiting) > _LONGEST_B_RUN:
            yield from waiting
            waiting.clear()
    if not report.damage:
        yield from waiting


def _pictures(
    container: InputContainer, stream: VideoStream, report: DecodeReport
) -> Iterator[av.VideoFrame]:
    """Pictures as the decoder gives them, up to the first damaged one; report.damage tells of it.

    Errors before the first whole picture are counted and passed over; after an error only a key
    frame is known to be whole, since it refers to nothing before it.
    """
    started = False
    packets = container.demux(stream)
    while not report.damage:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            report.damage = f"the file cannot be read on: {_text(error)}"
            yield from _held_back(stream, None)
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if not started:
                report.leading_errors += 1
                continue
            report.damage = _text(error)
            frames = _held_back(stream, packet.pts)
        for frame in frames:
            if started and frame.is_corrupt:
                report.damage = "a picture is incomplete"
                return
            if not started:
                may_start = frame.key_frame or report.leading_errors == 0
                started = may_start and not frame.is_corrupt
            if started:
                yield frame
            else:
                report.leading_errors += 1


def _held_back(stream: VideoStream, damaged_pts: int | None) -> list[av.VideoFrame]:
    """Pictures that the decoder still holds for re-ordering, up to the damaged one."""
    try:
        frames = stream.codec_context.decode(None)
    except av.FFmpegError:
        return []
    return [f for f in frames if damaged_pts is None or f.pts is None or f.pts < damaged_pts]


class _Clock:
    """Keeps a film's time stamps strictly increasing."""

    def __init__(self, time_base: Fraction, rate: Fraction | None) -> None:
        self._time_base = time_base
        self._interval = max(1, round(1 / (rate * time_base))) if rate else 1
        self._last: int | None = None
        self._longest = self._interval
        self._end = 0

    def place(self, frame: av.VideoFrame) -> tuple[int | None, str]:
        """(pts, "") of a frame; (None, "") for one to be dropped; (None, sentence) for a splice.

        A frame without a stamp (raw streams have none) follows its predecessor by the frame rate.
        """
        last = self._last
        pts = frame.pts
        if pts is None:
            pts = 0 if last is None else last + self._interval
        if last is not None:
            if (last - pts) * self._time_base > _CLOCK_JUMP_S:
                return None, f"the film's clock jumps back by {self._seconds(last - pts):.3f} s"
            if pts <= last:
                return None, ""
            self._longest = max(self._longest, pts - last)
        self._last = pts
        self._end = pts + max(frame.duration, self._interval)
        return pts, ""

    def early_end(self, declared_s: Fraction | None) -> str:
        """Sentence when the pictures end clearly before the declared end, else ""."""
        if declared_s is None:
            return ""
        missing_s = float(declared_s) - self._seconds(self._end)
        if missing_s <= _EARLY_END_S + self._seconds(self._longest):
            return ""
        return f"the pictures end {missing_s:.1f} s before the film's declared end"

    def _seconds(self, ticks: int) -> float:
        return float(ticks * self._time_base)


def _text(error: av.FFmpegError) -> str:
    return (error.strerror or type(error).__name__).lower()
