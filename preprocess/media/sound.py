"""A stretch of a film's sound as a file of its own."""

from pathlib import Path

import av
import ffmpeg
from av.container import InputContainer

from preprocess.media.deliver import MOVIE_TIMESCALE
from preprocess.media.ffmpeg import run_ffmpeg
from preprocess.media.probe import probe_audio
from preprocess.media.source import open_film

_MIN_CUT_S = 60.0
# Decoders have found their feet long before; a film begins that much before what is worth a seek.
_SEEK_EARLIER_S = 10.0


def cut_sound(path: Path, out: Path, *, start_s: float, duration_s: float) -> Path:
    """Write the sound of `path` from `start_s` (after its first picture) on, as AAC.

    Returns `out`, whose zero is `start_s`: sound that sets in later does so there too, and it is
    shorter where the sound ends earlier. In a file of sound alone zero stands for the first
    picture. Raises UnusableFilm when there is no audio in that stretch, FfmpegError when ffmpeg
    fails.
    """
    _, video_start_s = probe_audio(path)
    zero_s = (video_start_s or 0.0) + start_s
    enter_s = _entry_s(path, zero_s)
    where = {} if enter_s is None else {"ss": f"{enter_s:.6f}"}
    # Decoded and cut by sample: copied packets would start up to a packet too early.
    sound = ffmpeg.input(str(path.absolute()), **where)["a:0"].filter_(
        "atrim", start=zero_s, duration=duration_s
    )
    sound = sound.filter_("asetpts", f"PTS-{zero_s:.6f}/TB")
    options = {"c:a": "aac", "b:a": "192k", "flags:a": "+bitexact", "fflags": "+bitexact"}
    options["movie_timescale"] = str(MOVIE_TIMESCALE)
    output = ffmpeg.output(sound, str(out.absolute()), format="mp4", map_metadata=-1, **options)
    run_ffmpeg(output.global_args("-copyts"), timeout_s=_MIN_CUT_S + zero_s + duration_s)
    probe_audio(out)  # ffmpeg writes a file without a stream where nothing is left to cut
    return out


def is_indexed(container: InputContainer) -> bool:
    """Whether each packet tells its own time and has its place in an index.

    Then reading may begin anywhere in the file; in others times are counted or guessed.
    """
    return any(name in container.format.name for name in ("mov", "matroska"))


def _entry_s(path: Path, zero_s: float) -> float | None:
    """Where to begin reading, as ffmpeg counts it: from the file's own start. None: from there."""
    with open_film(path) as container:
        enter_s = zero_s - (container.start_time or 0) / av.time_base - _SEEK_EARLIER_S
        return enter_s if is_indexed(container) and enter_s > 0 else None
