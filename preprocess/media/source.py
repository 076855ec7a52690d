"""Opening a film safely, and how its stored pictures are to be shown."""

import re
import stat
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from preprocess.media.colour import RgbImage
from preprocess.media.errors import FilmReason, UnusableFilm

# Containers that carry films or dub audio. Playlists and scripts (hls, concat, ...) are left out on
# purpose: a text file named film.mp4 must not make the demuxer open other files or addresses.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,mpegvideo,avi,flv,live_flv,asf,ogg,mxf,gxf,nut,"
    "dv,wtv,rm,ivf,h264,hevc,m4v,vc1,av1,obu,yuv4mpegpipe,wav,w64,aiff,caf,mp3,aac,ac3,eac3,flac"
)
_IMAGE_BRANDS = frozenset({"avif", "heic", "heix", "heim", "heis", "mif1"})
_IMAGE_MAGICS = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"BM",
    b"II*\x00",
    b"MM\x00*",
    b"8BPS",
)
MAX_PIXELS = 8192 * 4320
"""Largest picture that is decoded (8K): one RGB frame of it takes 106 MB."""

# Decoders that hide even plain syntax errors unless told otherwise. The others are not told: they
# would refuse films over oddities that spoil nothing.
_STRICT = frozenset({"msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2"})

# Real pixels are at most twice as wide as high; a damaged header could ask for huge pictures.
_WIDEST_PIXEL = Fraction(4)


def open_film(path: Path) -> InputContainer:
    """Open a media file for reading; the caller closes it (it is a context manager).

    Raises UnusableFilm when the path is no readable, non-empty file of a known media container.
    """
    path = path.absolute()  # the leading "/" also keeps "name:x.mp4" from being a protocol
    head = _read_head(path)
    try:
        container = av.open(
            str(path),
            mode="r",
            options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except (av.FFmpegError, UnicodeError) as error:
        raise _why_not_opened(path, head, error) from error
    if container.metadata.get("major_brand", "").strip() in _IMAGE_BRANDS:
        container.close()
        raise UnusableFilm(FilmReason.NOT_A_FILM, "the file is a still image, not a film")
    return container


def video_stream(container: InputContainer) -> VideoStream:
    """Return the first real video stream (cover art is none), set to decode on one thread.

    One thread keeps damage reports and pictures the same on every machine; films run side by side.
    Raises UnusableFilm when there is none, or when its pictures are larger than MAX_PIXELS.
    """
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise UnusableFilm(FilmReason.NO_VIDEO, "the file holds no video stream")
    stream = streams[0]
    if stream.codec_context is None:
        raise UnusableFilm(FilmReason.UNDECODABLE, "there is no decoder for the video's codec")
    if stream.width * stream.height > MAX_PIXELS:
        raise UnusableFilm(
            FilmReason.TOO_LARGE,
            f"pictures of {stream.width}x{stream.height} exceed the limit of 8192x4320",
        )
    stream.thread_count = 1
    if stream.codec_context.codec.canonical_name in _STRICT:
        stream.codec_context.options = {"err_detect": "bitstream+buffer+explode"}
    return stream


@dataclass(frozen=True)
class Display:
    """How stored pictures become upright pictures with square pixels.

    width_px, height_px: size of the picture as shown. stored_width_px, stored_height_px: size as
    coded, before turning. transpose, then flips: the turn that makes it upright (all eight cases).
    """

    width_px: int
    height_px: int
    stored_width_px: int
    stored_height_px: int
    transpose: bool
    flip_x: bool
    flip_y: bool

    @property
    def scaled_stored_px(self) -> tuple[int, int]:
        """(width, height) of the stored picture once its pixels are square, before turning."""
        upright = (self.width_px, self.height_px)
        return upright[::-1] if self.transpose else upright

    @property
    def rotation_deg(self) -> int:
        """Clockwise turn that shows the picture upright: 0, 90, 180 or 270 (mirroring apart)."""
        if self.transpose:
            return 90 if self.flip_x else 270
        return 180 if self.flip_y else 0

    def upright(self, rgb_HWC: RgbImage) -> RgbImage:
        """Turn a stored picture upright; the result is contiguous."""
        if self.transpose:
            rgb_HWC = rgb_HWC.transpose(1, 0, 2)
        if self.flip_x:
            rgb_HWC = rgb_HWC[:, ::-1]
        if self.flip_y:
            rgb_HWC = rgb_HWC[::-1]
        return np.ascontiguousarray(rgb_HWC)


def display_of(frame: av.VideoFrame, sar: Fraction) -> Display:
    """Derive the display geometry from a film's first frame and its sample aspect ratio.

    The short side is stretched so that no detail is lost; the stretched side is rounded to even.
    """
    transpose, flip_x, flip_y = _turn(frame)
    width, height = frame.width, frame.height
    if sar > 1:
        width = _to_even(width * sar)
    elif sar < 1:
        height = _to_even(height / sar)
    shown = (height, width) if transpose else (width, height)
    return Display(*shown, frame.width, frame.height, transpose, flip_x, flip_y)


def pixel_aspect(stream: VideoStream) -> Fraction:
    """Width over height of one stored pixel; 1 where the film says nothing or nonsense."""
    sar = stream.sample_aspect_ratio
    return sar if sar and 1 / _WIDEST_PIXEL <= sar <= _WIDEST_PIXEL else Fraction(1)


def time_base_of(stream: Stream) -> Fraction:
    """Unit of the stream's time stamps in seconds."""
    if stream.time_base is None:
        raise UnusableFilm(FilmReason.UNDECODABLE, "a stream of the film has no unit of time")
    return stream.time_base


def declared_end_s(container: InputContainer, stream: Stream) -> Fraction | None:
    """End of a stream on the film's clock, where the header speaks of that very stream."""
    tag = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if tag:  # Matroska, counted from the file's zero
        hours, minutes, seconds = tag.groups()
        return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    # These tell one duration for all; the demuxer passes it on as if it were each stream's own.
    shared = any(name in container.format.name for name in ("matroska", "flv"))
    if stream.duration is None or (shared and len(container.streams) > 1):
        return None
    start = 0 if shared else stream.start_time or 0
    return (start + stream.duration) * time_base_of(stream)


def _read_head(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for without end
            raise UnusableFilm(FilmReason.NOT_A_FILE, "the path names no ordinary file")
        if status.st_size == 0:
            raise UnusableFilm(FilmReason.EMPTY, "the file is empty")
        with path.open("rb") as file:
            return file.read(16)
    except FileNotFoundError as error:
        raise UnusableFilm(FilmReason.VANISHED, "there is no such file (any more)") from error
    except OSError as error:
        raise UnusableFilm(
            FilmReason.UNREADABLE, f"the file cannot be read: {error.strerror}"
        ) from error


def _why_not_opened(path: Path, head: bytes, error: Exception) -> UnusableFilm:
    if not path.exists():
        return UnusableFilm(FilmReason.VANISHED, "the file vanished while it was being opened")
    if head.startswith(_IMAGE_MAGICS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return UnusableFilm(FilmReason.NOT_A_FILM, "the file is a still image, not a film")
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"skip"):
        return UnusableFilm(
            FilmReason.TRUNCATED,
            "the file starts like an mp4 but its index is missing or damaged: it is cut short "
            "or its recording was never finished",
        )
    if isinstance(error, OSError | UnicodeError):
        return UnusableFilm(FilmReason.UNREADABLE, f"the file cannot be read: {error}")
    return UnusableFilm(FilmReason.NOT_MEDIA, "the content is no media container that is known")


def _turn(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """Read (transpose, flip_x, flip_y) from the display matrix; odd angles count as upright.

    The matrix is ISO/IEC 14496-12's: x' = a x + c y, y' = b x + d y, in 16.16 fixed point.
    """
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return False, False, False
    a, b, _, c, d = (int(v) for v in np.frombuffer(cast("bytes", side_data), np.int32)[:5])
    if a and d and not b and not c:
        return False, a < 0, d < 0
    if b and c and not a and not d:
        return True, c < 0, b < 0
    return False, False, False


def _to_even(length_px: Fraction) -> int:
    return max(2, 2 * round(length_px / 2))
