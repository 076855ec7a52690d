"""A stretch of a film as a shot: its frames, facts, pictures and sound, exact to the frame.

write_film with `stretch.info`, `stretch.pts`, `stretch.end_pts` and the sound of `stretch_sound`
gives a film of these frames alone, whose zero is the stretch's first picture.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
from av.codec import CodecContext
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from preprocess.media.colour import RgbConverter, matrix_for
from preprocess.media.decode import DecodedFrame, decode_film
from preprocess.media.deliver import end_of_pictures
from preprocess.media.errors import FilmReason, UnusableFilm
from preprocess.media.probe import AudioInfo, FilmInfo
from preprocess.media.sound import cut_sound, is_indexed
from preprocess.media.source import display_of, open_film, pixel_aspect, video_stream

# People copy times with three decimals; no two frames are as near to each other.
_ROUNDING_S = Fraction(1, 2000)
# Indexes count in decoding order, up to the re-ordering of B-pictures before the time as shown.
_SEEK_EARLIER_S = 1
# NAL units of an instantaneous refresh: nothing after it refers to anything before it.
_H264_REFRESH = frozenset({5})
_HEVC_REFRESH = frozenset({19, 20})


class EmptyStretch(Exception):  # noqa: N818 - names the finding
    """No frame of the film lies in the stretch; the message is one sentence."""


@dataclass(frozen=True)
class Stretch:
    """Some successive frames of a film.

    first: index of its first frame in the film. pts: time stamps of its frames, in info.time_base
    on the film's clock; end_pts: where the last one ends there. start_s: from the film's first
    picture to the stretch's. info: the film's facts with the time and sound of the stretch.
    """

    first: int
    pts: tuple[int, ...]
    end_pts: int
    start_s: float
    info: FilmInfo

    @property
    def frames(self) -> range:
        """Indices of its frames in the film."""
        return range(self.first, self.first + len(self.pts))

    @property
    def duration_s(self) -> float:
        """From its first picture to the end of its last one."""
        return float((self.end_pts - self.pts[0]) * self.info.time_base)


def frames_between(
    pts: Sequence[int], time_base: Fraction, start_s: float, end_s: float | None
) -> range:
    """Indices of a film's frames that begin in [start_s, end_s), counted from its first picture.

    Times may be rounded to thousandths of a second; stretches that meet share no frame and miss
    none. end_s None: to the film's end.
    """
    first, last = (
        len(pts) if at_s is None else bisect_left(pts, _pts_at(at_s, pts[0], time_base))
        for at_s in (start_s, end_s)
    )
    return range(first, max(first, last))


def stretch_of(
    film: FilmInfo, pts: Sequence[int], start_s: float, end_s: float | None = None
) -> Stretch:
    """Cut [start_s, end_s) out of a film, in seconds after its first picture.

    pts: time stamps of all of the film's frames, from frame_times. The last frame of the stretch
    lasts as it does in the film. Sound before the stretch's first picture is none of it. Raises
    EmptyStretch when no frame lies there.
    """
    frames = frames_between(pts, film.time_base, start_s, end_s)
    film_end_pts = end_of_pictures(film, pts)
    if not frames:
        until = "its end" if end_s is None else f"{end_s:g} s"
        lasting_s = float((film_end_pts - pts[0]) * film.time_base)
        raise EmptyStretch(
            f"no frame of the film lies from {start_s:g} s to {until}: it lasts {lasting_s:.3f} s"
        )
    inside = tuple(pts[frames.start : frames.stop])
    end_pts = film_end_pts if frames.stop == len(pts) else pts[frames.stop]
    begins_s, ends_s = (float(stamp * film.time_base) for stamp in (inside[0], end_pts))
    info = replace(
        film,
        start_s=begins_s,
        duration_s=ends_s - begins_s,
        frames_hint=len(inside),
        audio=None if film.audio is None else _audio_between(film.audio, begins_s, ends_s),
    )
    after_first_s = float((inside[0] - pts[0]) * film.time_base)
    return Stretch(frames.start, inside, end_pts, after_first_s, info)


def stretch_sound(film: Path, stretch: Stretch, out: Path) -> Path | None:
    """Write the film's sound of the stretch to `out`; None where the film is without sound there.

    Its zero is the stretch's first picture. Raises FfmpegError when ffmpeg fails.
    """
    try:
        return cut_sound(film, out, start_s=stretch.start_s, duration_s=stretch.duration_s)
    except UnusableFilm as found:
        if found.reason != FilmReason.NO_AUDIO:
            raise
        out.unlink(missing_ok=True)
        return None


def decode_stretch(path: Path, stretch: Stretch) -> Iterator[DecodedFrame]:
    """Decode the frames of a stretch: the same pixels and times that decode_film gives.

    It starts at a picture before the stretch that refers to nothing before it, where the film has
    an index and tells such pictures for sure (H.264 and HEVC in mp4, mov or Matroska, not
    interlaced); other films are decoded from the start. The film must be the one that the
    stretch's time stamps come from: fewer frames are given where they have gone, and UnusableFilm
    is raised where it is no film any more.
    """
    given = 0
    for frame in _from_refresh(path, stretch):
        yield frame
        given += 1
    if given < len(stretch.pts):
        yield from islice(decode_film(path), stretch.first + given, stretch.frames.stop)


def _pts_at(at_s: float, first_pts: int, time_base: Fraction) -> Fraction:
    return first_pts + (Fraction(at_s) - _ROUNDING_S) / time_base


def _audio_between(audio: AudioInfo, begins_s: float, ends_s: float) -> AudioInfo | None:
    """Facts about a film's sound within the stretch; None when header says that there is none."""
    start_s = max(audio.start_s, begins_s)
    end_s = ends_s
    if audio.duration_s is not None:
        end_s = min(end_s, audio.start_s + audio.duration_s)
    return replace(audio, start_s=start_s, duration_s=end_s - start_s) if start_s < end_s else None


def _from_refresh(path: Path, stretch: Stretch) -> Iterator[DecodedFrame]:
    """Frames of the stretch from its first on, up to the first one that is not surely exact."""
    info = stretch.info
    if info.interlaced:
        return
    seek_pts = stretch.pts[0] - round(_SEEK_EARLIER_S / info.time_base)
    if seek_pts * info.time_base <= info.start_s - stretch.start_s:
        return
    stored = (info.stored_width, info.stored_height)
    convert: RgbConverter | None = None
    wanted = iter(stretch.pts)
    expected = next(wanted)
    with open_film(path) as container:
        stream = video_stream(container)
        for frame in _pictures_from(container, stream, seek_pts):
            whole = not (frame.is_corrupt or frame.interlaced_frame)
            if frame.pts is None or (frame.width, frame.height) != stored or not whole:
                return
            if frame.pts < expected:
                continue
            if frame.pts != expected:
                return
            if convert is None:
                display = display_of(frame, pixel_aspect(stream))
                matrix = matrix_for(info.color_space, info.stored_height)
                convert = RgbConverter(*display.scaled_stored_px, matrix)
            yield DecodedFrame(frame.pts, info.time_base, display.upright(convert(frame)))
            following = next(wanted, None)
            if following is None:
                return
            expected = following


def _pictures_from(
    container: InputContainer, stream: VideoStream, seek_pts: int
) -> Iterator[av.VideoFrame]:
    """Pictures from the refresh before seek_pts on; none where there is none for sure."""
    if not is_indexed(container):
        return
    try:
        container.seek(seek_pts, stream=stream)
        packets = container.demux(stream)
        packet = next(packets, None)
        if packet is None or not _is_refresh(packet, stream.codec_context):
            return
        while packet is not None:
            if packet.is_corrupt and packet.size:
                return
            yield from packet.decode()
            packet = next(packets, None)
    except av.FFmpegError:
        return


def _is_refresh(packet: "Packet[VideoStream]", context: CodecContext) -> bool:
    """Whether decoding can start at a packet as if nothing had been before it."""
    header = context.extradata or b""
    codec = context.codec.canonical_name
    if codec not in ("h264", "hevc") or header[:1] != b"\x01" or len(header) < 22:
        return False
    length_at, kinds = (4, _H264_REFRESH) if codec == "h264" else (21, _HEVC_REFRESH)
    length_bytes = (header[length_at] & 3) + 1
    content, at = bytes(packet), 0
    while at + length_bytes < len(content):
        size = int.from_bytes(content[at : at + length_bytes], "big")
        first = content[at + length_bytes]
        if (first & 0x1F if codec == "h264" else first >> 1 & 0x3F) in kinds:
            return True
        at += length_bytes + size
    return False
