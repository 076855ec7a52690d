"""Delivered films: the original's frames, times, size and colour with new pictures and sound."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import ffmpeg
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from preprocess.media.colour import (
    BT709,
    FULL_RANGE,
    LIMITED_RANGE,
    RgbImage,
    YuvConverter,
    encodable_pix_fmt,
    matrix_for,
)
from preprocess.media.ffmpeg import run_ffmpeg
from preprocess.media.probe import FilmInfo, probe_audio

# Codecs that mp4 holds and players play; everything else becomes AAC.
_COPIED_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})
_RGB_MATRIX = 0
_MIN_MUX_S = 120.0
_LONGEST_LAST_FRAME_S = Fraction(1)
MOVIE_TIMESCALE = 90000
"""Clock of mp4's edit lists. The muxer's own, 1000, would move sound by up to a millisecond."""


@dataclass(frozen=True)
class DeliverySettings:
    """How a delivered film is encoded.

    crf: x264's constant quality, lower is better; 16 is hard to tell from its source. preset:
    x264's speed step. threads: of x264; it changes the bytes, so it is fixed rather than found.
    audio_kbit_s: rate of AAC where the sound cannot be copied.
    """

    crf: float = 16
    preset: str = "medium"
    threads: int = 1
    audio_kbit_s: int = 192


def write_film(
    path: Path,
    frames: Iterable[RgbImage],
    *,
    original: FilmInfo,
    pts: Sequence[int],
    audio_from: Path | None,
    settings: DeliverySettings | None = None,
    end_pts: int | None = None,
) -> None:
    """Write an mp4 (H.264, index first) that takes the original's place, frame for frame.

    frames: uint8 [H, W, 3] upright with square pixels, one for each of pts (the original's time
    stamps in original.time_base, from decode_film or frame_times). Kept: every time stamp relative
    to the film's start, the stored grid and its pixel aspect (turned upright), the colour tags, and
    the matrix and range that the pixels are computed with. 8 bits; no HDR mastering data.
    audio_from: film or sound file whose first audio stream is muxed, copied where mp4 can hold it,
    cut to the film's time. It keeps its time relative to its own first picture; in a file that is
    sound alone zero stands for that picture. None gives a silent film. end_pts: where the last
    picture ends, where that is known; None takes end_of_pictures.

    Same input, same bytes. The file appears when it is complete, or not at all. Raises ValueError
    when there are not exactly as many frames as pts, UnusableFilm when audio_from has no audio,
    FfmpegError when muxing fails.
    """
    settings = settings or DeliverySettings()
    video_at_s = _lead_s(original)
    # The sound comes first: where it is unusable, nothing is rendered in vain.
    sound = None if audio_from is None else _sound(audio_from, video_at_s, settings)
    duration_pts = (end_of_pictures(original, pts) if end_pts is None else end_pts) - pts[0]
    duration_s = float(duration_pts * original.time_base)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".deliver-") as folder:
        silent, muxed = Path(folder, "silent.mp4"), Path(folder, "muxed.mp4")
        stamps = [stamp - pts[0] for stamp in pts]
        # Every frame lasts until its successor, the last one as long as the original's.
        ends = dict(zip(stamps, [*stamps[1:], duration_pts], strict=True))
        _encode(silent, frames, original, ends, settings)
        video = ffmpeg.input(str(silent.absolute()), itsoffset=_seconds(video_at_s))["v:0"]
        output = _mux(video, sound, muxed, original.time_base_den, video_at_s + duration_s)
        run_ffmpeg(output, timeout_s=_MIN_MUX_S + duration_s)
        muxed.replace(path)


def _encode(
    path: Path,
    frames: Iterable[RgbImage],
    original: FilmInfo,
    ends: dict[int, int],
    settings: DeliverySettings,
) -> None:
    """Encode the pictures alone. ends: every frame's time stamp, from 0 on, and where it ends."""
    shape = (original.height, original.width, 3)
    stamps = list(ends)
    count = 0
    # With the time base's denominator as mp4's clock every time stamp is a whole tick.
    options = {"fflags": "+bitexact", "video_track_timescale": str(original.time_base_den)}
    with av.open(str(path.absolute()), mode="w", format="mp4", options=options) as container:
        stream, convert = _video_encoder(container, original, settings)
        for rgb_HWC in frames:
            if count == len(stamps):
                raise ValueError(f"more frames than the {len(stamps)} of the original")
            if rgb_HWC.shape != shape or rgb_HWC.dtype != np.uint8:
                raise ValueError(f"a frame of {rgb_HWC.dtype} {rgb_HWC.shape}, not uint8 {shape}")
            frame = convert(rgb_HWC)
            frame.pts, frame.time_base = stamps[count], original.time_base
            container.mux(_with_durations(stream.encode(frame), ends))
            count += 1
        container.mux(_with_durations(stream.encode(None), ends))
    if count < len(stamps):
        raise ValueError(f"{count} frames for the {len(stamps)} of the original")


def _video_encoder(
    container: OutputContainer, original: FilmInfo, settings: DeliverySettings
) -> tuple[VideoStream, YuvConverter]:
    turned = original.rotation_deg in (90, 270)
    width, height = original.stored_width, original.stored_height
    sar = original.sar
    if turned:
        width, height, sar = height, width, 1 / sar
    is_rgb = original.color_space == _RGB_MATRIX
    space = BT709 if is_rgb else original.color_space
    color_range = LIMITED_RANGE if is_rgb else original.color_range
    stream = container.add_stream("libx264", rate=original.rate)
    stream.width, stream.height = width, height
    stream.pix_fmt = encodable_pix_fmt(width, height)
    stream.options = {
        "crf": str(settings.crf),
        "preset": settings.preset,
        "x264-params": "cpu-independent=1",
    }
    context = stream.codec_context
    context.thread_count, context.thread_type = settings.threads, "FRAME"
    context.time_base = original.time_base
    context.sample_aspect_ratio = sar
    context.color_range, context.colorspace = color_range, space
    context.color_primaries = original.color_primaries
    context.color_trc = original.color_transfer
    convert = YuvConverter(
        width,
        height,
        stream.pix_fmt,
        matrix_for(space, original.stored_height),
        FULL_RANGE if color_range == FULL_RANGE else LIMITED_RANGE,
    )
    return stream, convert


def _with_durations(
    packets: "list[Packet[Stream]]", ends: dict[int, int]
) -> "list[Packet[Stream]]":
    for packet in packets:
        if packet.pts is not None:
            packet.duration = ends[packet.pts] - packet.pts
    return packets


def _sound(
    audio_from: Path, video_at_s: float, settings: DeliverySettings
) -> tuple[Any, dict[str, Any]]:
    """(ffmpeg-python stream of the sound on the film's clock, options for its codec)."""
    audio, video_start_s = probe_audio(audio_from)
    moved_s = video_at_s - (video_start_s or 0.0)
    stream = ffmpeg.input(str(audio_from.absolute()), itsoffset=_seconds(moved_s))["a:0"]
    if audio.codec in _COPIED_AUDIO:
        return stream, {"c:a": "copy"}
    # The encoder would move sound from before zero to zero; a copy keeps its time.
    encoded = {"c:a": "aac", "b:a": f"{settings.audio_kbit_s}k", "flags:a": "+bitexact"}
    return stream.filter_("atrim", start=0), encoded


def _mux(
    video: Any, sound: tuple[Any, dict[str, Any]] | None, path: Path, timescale: int, end_s: float
) -> Any:
    """ffmpeg-python node that joins pictures and sound up to the film's end."""
    stream, options = sound or (None, {})
    output = ffmpeg.output(
        *([video] if stream is None else [video, stream]),
        str(path.absolute()),
        **options,
        **{"c:v": "copy"},
        video_track_timescale=timescale,
        movie_timescale=MOVIE_TIMESCALE,
        movflags="+faststart",
        fflags="+bitexact",
        avoid_negative_ts="disabled",
        map_metadata=-1,
        map_chapters=-1,
        t=_seconds(end_s),
    )
    # Without -copyts ffmpeg moves every input to zero and so loses the offsets between streams.
    return output.global_args("-copyts")


def _lead_s(original: FilmInfo) -> float:
    """Time by which the original's sound begins before its first picture, else 0."""
    return 0.0 if original.audio is None else max(0.0, original.start_s - original.audio.start_s)


def end_of_pictures(original: FilmInfo, pts: Sequence[int]) -> int:
    """Where the last of a film's pictures ends, in units of the film's time base.

    The last frame lasts one frame interval, unless the declared duration clearly says otherwise (a
    still held at the end); smaller departures are rounding in the original's header.
    """
    interval = max(1, round(1 / (original.rate * original.time_base)))
    last = interval
    if original.duration_s is not None:
        end_s = original.start_s + original.duration_s
        declared = round(Fraction(end_s) / original.time_base) - pts[-1]
        longest = max(round(_LONGEST_LAST_FRAME_S / original.time_base), 2 * interval)
        if interval / 2 < abs(declared - interval) and 0 < declared <= longest:
            last = declared
    return pts[-1] + last


def _seconds(value_s: float) -> str:
    return f"{value_s:.6f}"
