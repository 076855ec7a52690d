"""What a film is: size, time, colour, sound; or why it is none."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from preprocess.media.colour import FULL_RANGE
from preprocess.media.decode import first_frame
from preprocess.media.errors import FilmReason, UnusableFilm
from preprocess.media.source import (
    declared_end_s,
    display_of,
    open_film,
    pixel_aspect,
    time_base_of,
    video_stream,
)

# SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG), as ITU-T H.273 numbers them.
_HDR_TRANSFERS = (16, 18)


@dataclass(frozen=True)
class AudioInfo:
    """A film's first audio stream. start_s is on the container's clock."""

    codec: str
    sample_rate_hz: int
    channels: int
    start_s: float
    duration_s: float | None


@dataclass(frozen=True)
class FilmInfo:
    """Facts about a film; plain numbers and strings, so that asdict() is JSON.

    width, height: px, upright with square pixels: the size that decode_film gives.
    stored_width, stored_height: px as coded. rotation_deg: clockwise turn that shows it upright.
    sar: width over height of a stored pixel. fps: average. start_s: time of the first frame on the
    container's clock. duration_s: from there to the declared end, as little to be trusted as any
    header. frames_hint: the header's count or an estimate, never exact by contract.
    color_*: ITU-T H.273 code points, 2 = unspecified; color_range 1 limited, 2 full, 0 unspecified.
    """

    container: str
    codec: str
    pix_fmt: str
    width: int
    height: int
    stored_width: int
    stored_height: int
    rotation_deg: int
    sar_num: int
    sar_den: int
    fps_num: int
    fps_den: int
    time_base_num: int
    time_base_den: int
    start_s: float
    duration_s: float | None
    frames_hint: int | None
    interlaced: bool
    color_range: int
    color_primaries: int
    color_transfer: int
    color_space: int
    audio: AudioInfo | None

    @property
    def fps(self) -> float:
        """Average frame rate in frames per second."""
        return self.fps_num / self.fps_den

    @property
    def rate(self) -> Fraction:
        """Average frame rate, exact."""
        return Fraction(self.fps_num, self.fps_den)

    @property
    def sar(self) -> Fraction:
        """Sample aspect ratio of the stored picture."""
        return Fraction(self.sar_num, self.sar_den)

    @property
    def is_hdr(self) -> bool:
        """Whether the brightness is coded as PQ or HLG; decode_film does not tone-map it."""
        return self.color_transfer in _HDR_TRANSFERS

    @property
    def time_base(self) -> Fraction:
        """Unit of the film's time stamps in seconds."""
        return Fraction(self.time_base_num, self.time_base_den)


def probe_film(path: Path) -> FilmInfo:
    """Open a film, decode its first picture and tell what it is.

    Raises UnusableFilm with a reason and one sentence for everything that is no usable film.
    """
    with open_film(path) as container:
        stream = video_stream(container)
        frame = first_frame(container, stream)
        return _film_info(container, stream, frame)


def probe_audio(path: Path) -> tuple[AudioInfo, float | None]:
    """(first audio stream, time of the first picture in s or None) of a film or sound file.

    Raises UnusableFilm when there is no audio stream.
    """
    with open_film(path) as container:
        audio = _audio_info(container)
        if audio is None:
            raise UnusableFilm(FilmReason.NO_AUDIO, "the file holds no audio stream")
        try:
            stream = video_stream(container)
            return audio, _first_picture_s(stream, first_frame(container, stream))
        except UnusableFilm:
            return audio, None


def _film_info(container: InputContainer, stream: VideoStream, frame: av.VideoFrame) -> FilmInfo:
    sar = pixel_aspect(stream)
    display = display_of(frame, sar)
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    time_base = time_base_of(stream)
    start_s = _first_picture_s(stream, frame)
    duration_s = _duration_s(container, stream, start_s)
    full_by_format = frame.format.name.startswith("yuvj")
    return FilmInfo(
        container=container.format.name,
        codec=stream.codec_context.codec.canonical_name,
        pix_fmt=frame.format.name,
        width=display.width_px,
        height=display.height_px,
        stored_width=display.stored_width_px,
        stored_height=display.stored_height_px,
        rotation_deg=display.rotation_deg,
        sar_num=sar.numerator,
        sar_den=sar.denominator,
        fps_num=rate.numerator,
        fps_den=rate.denominator,
        time_base_num=time_base.numerator,
        time_base_den=time_base.denominator,
        start_s=start_s,
        duration_s=duration_s,
        frames_hint=stream.frames or (round(duration_s * rate) if duration_s else None),
        interlaced=frame.interlaced_frame,
        color_range=FULL_RANGE if full_by_format else frame.color_range,
        color_primaries=frame.color_primaries,
        color_transfer=frame.color_trc,
        color_space=frame.colorspace,
        audio=_audio_info(container),
    )


def _audio_info(container: InputContainer) -> AudioInfo | None:
    if not container.streams.audio:
        return None
    stream: AudioStream = container.streams.audio[0]
    start_s = float((stream.start_time or 0) * time_base_of(stream))
    decoder = stream.codec_context  # None: there is no decoder for it
    return AudioInfo(
        codec=decoder.codec.canonical_name if decoder else "unknown",
        sample_rate_hz=(decoder.sample_rate or 0) if decoder else 0,
        channels=decoder.channels if decoder else 0,
        start_s=start_s,
        duration_s=_duration_s(container, stream, start_s),
    )


def _first_picture_s(stream: VideoStream, frame: av.VideoFrame) -> float:
    """Time of the first picture; headers tell the film's start instead in some containers."""
    return float((frame.pts or 0) * time_base_of(stream))


def _duration_s(container: InputContainer, stream: Stream, start_s: float) -> float | None:
    end_s = declared_end_s(container, stream)
    if end_s is not None:
        return float(end_s) - start_s
    return None if container.duration is None else container.duration / av.time_base
