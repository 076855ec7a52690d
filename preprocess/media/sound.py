"""A stretch of a film's sound as a file of its own."""

from pathlib import Path

import ffmpeg

from preprocess.media.ffmpeg import run_ffmpeg
from preprocess.media.probe import probe_audio

_MIN_CUT_S = 60.0


def cut_sound(path: Path, out: Path, *, start_s: float, duration_s: float) -> Path:
    """Write the sound of `path` from `start_s` (after its first picture) on, as AAC.

    Returns `out`, whose zero is `start_s`: sound that sets in later does so there too, and it is
    shorter where the sound ends earlier. In a file of sound alone zero stands for the first
    picture. Raises UnusableFilm when there is no audio in that stretch, FfmpegError when ffmpeg
    fails.
    """
    _, video_start_s = probe_audio(path)
    zero_s = (video_start_s or 0.0) + start_s
    # Decoded and cut by sample: copied packets would start up to a packet too early.
    sound = ffmpeg.input(str(path.absolute()))["a:0"].filter_(
        "atrim", start=zero_s, duration=duration_s
    )
    sound = sound.filter_("asetpts", f"PTS-{zero_s:.6f}/TB")
    options = {"c:a": "aac", "b:a": "192k", "flags:a": "+bitexact", "fflags": "+bitexact"}
    output = ffmpeg.output(sound, str(out.absolute()), format="mp4", map_metadata=-1, **options)
    run_ffmpeg(output.global_args("-copyts"), timeout_s=_MIN_CUT_S + zero_s + duration_s)
    probe_audio(out)  # ffmpeg writes a file without a stream where nothing is left to cut
    return out
