"""Decoding of any film in presentation order with true times."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from preprocess.media.clock import Clock
from preprocess.media.colour import RgbConverter, RgbImage, matrix_for
from preprocess.media.deinterlace import deinterlaced
from preprocess.media.errors import FilmReason, UnusableFilm
from preprocess.media.packets import checked_packets
from preprocess.media.source import (
    declared_end_s,
    display_of,
    open_film,
    pixel_aspect,
    time_base_of,
    video_stream,
)

# x264's limit; some encoders mark all pictures as B, and the wait must end.
_LONGEST_B_RUN = 16
# A recording that begins inside a group of pictures shows something within a few hundred packets.
_MOST_LEADING = 10_000


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
    frames before it are given out and the damage is told in `report`; damage that neither the
    packets nor the decoder show cannot be told. Interlaced pictures become whole ones, as many and
    at the same times. HDR pictures are not tone-mapped (probe_film tells). Pictures of another size
    than the first are scaled to it. Raises UnusableFilm when there is not one good frame.
    """
    report = DecodeReport() if report is None else report
    with open_film(path) as container:
        stream = video_stream(container)
        time_base = time_base_of(stream)
        convert: RgbConverter | None = None
        for frame, pts in deinterlaced(_good_frames(container, stream, report)):
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
    clock = Clock(time_base_of(stream), stream.guessed_rate)
    for frame, pts in _timed(_whole_pictures(container, stream, report), clock, report):
        report.frames += 1
        yield frame, pts
    if report.frames == 0:
        raise UnusableFilm(FilmReason.UNDECODABLE, "not one picture of the film can be decoded")
    if not report.damage:
        report.damage = clock.early_end(declared_end_s(container, stream))
    if report.damage:
        report.damage = f"only the first {report.frames} frames are good: {report.damage}"


def _timed(
    frames: Iterator[av.VideoFrame], clock: Clock, report: DecodeReport
) -> Iterator[tuple[av.VideoFrame, int]]:
    """Frames with strictly increasing time stamps, up to the first jump of the film's clock.

    A frame after a long gap waits for its successor: where that one is back at the old time, it is
    the frame's own stamp that is wrong.
    """
    late: tuple[av.VideoFrame, int] | None = None
    for frame in frames:
        pts, jump = clock.place(frame)
        if jump:
            report.damage = jump
            late = None if clock.was_stray(frame) else late
            break
        if pts is None:
            report.dropped += 1
            continue
        if late is not None:
            yield late
        late = (frame, pts) if clock.is_after_gap else None
        if late is None:
            yield frame, pts
    if late is not None:
        yield late


def _whole_pictures(
    container: InputContainer, stream: VideoStream, report: DecodeReport
) -> Iterator[av.VideoFrame]:
    """Whole pictures until the end or the first damage.

    A damaged picture that is shown after a B-picture may have been decoded before it and spoilt it.
    So a run of B-pictures waits until the picture that ends it has come out whole.
    """
    waiting: list[tuple[av.VideoFrame, int]] = []
    turns: dict[int, int] = {}  # by time stamp: when the picture was decoded
    for frame in _pictures(container, stream, report, turns):
        turn = turns.pop(frame.pts, 0) if frame.pts is not None else 0
        if frame.is_corrupt:
            report.damage = report.damage or "a picture is incomplete"
            yield from (f for f, decoded in waiting if decoded < turn)
            return
        waiting.append((frame, turn))
        if frame.pict_type != PictureType.B or len(waiting) > _LONGEST_B_RUN:
            yield from (f for f, _ in waiting)
            waiting.clear()
    yield from (f for f, _ in waiting)


def _pictures(
    container: InputContainer, stream: VideoStream, report: DecodeReport, turns: dict[int, int]
) -> Iterator[av.VideoFrame]:
    """Pictures as the decoder gives them, up to the first damage; report.damage tells of it.

    The last one may be corrupt. turns is filled with each one's place in decoding order. Errors
    before the first whole picture are counted and passed over; after an error only a key frame is
    known to be whole, since it refers to nothing before it.
    """
    started, turn = False, 0
    packets = checked_packets(container, stream)
    while not report.damage and report.leading_errors < _MOST_LEADING:
        frames: list[av.VideoFrame]
        try:
            packet, fault = next(packets, (None, ""))
        except av.FFmpegError as error:
            packet, fault = None, f"the file cannot be read on: {_text(error)}"
        if packet is None and not fault:
            return
        turn += 1
        if packet is not None and packet.pts is not None:
            turns[packet.pts] = turn
        try:
            frames = [] if packet is None or fault else packet.decode()
        except av.FFmpegError as error:
            fault, frames = _text(error), []
        if fault:
            frames = _held_back(stream, None if packet is None else packet.pts)
        for frame in frames:
            if not started:
                may_start = frame.key_frame or report.leading_errors == 0
                started = may_start and not frame.is_corrupt
            if started:
                yield frame
            else:
                report.leading_errors += 1
        if fault and (started or packet is None):
            report.damage = report.damage or fault
        elif fault:
            report.leading_errors += 1
            stream.codec_context.flush_buffers()


def _held_back(stream: VideoStream, damaged_pts: int | None) -> list[av.VideoFrame]:
    """Pictures that the decoder still holds for re-ordering, up to the damaged one.

    A corrupt one beyond it is kept too, for it may have spoilt what is shown before it.
    """
    try:
        frames = stream.codec_context.decode(None)
    except av.FFmpegError:
        return []
    return [
        f
        for f in frames
        if damaged_pts is None or f.pts is None or f.pts < damaged_pts or f.is_corrupt
    ]


def _text(error: av.FFmpegError) -> str:
    return (error.strerror or type(error).__name__).lower()
