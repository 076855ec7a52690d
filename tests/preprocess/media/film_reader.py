"""Reads films in a process of its own: one path a line in, one JSON object a line out.

Run by the fixture `read_apart`, so that a film which hangs or kills its reader harms no test.
"""

import hashlib
import json
import sys
from pathlib import Path

import av

from preprocess.media.decode import DecodeReport, decode_film
from preprocess.media.errors import UnusableFilm
from preprocess.media.probe import probe_film
from preprocess.media.resample import resample_constant


def read(path):
    """Probe, decode and resample a film; its frames as [time in s, digest of the pixels]."""
    report, frames, reason, ticks = DecodeReport(), [], "", 0

    def timed():
        for frame in decode_film(path, report):
            digest = hashlib.blake2b(frame.rgb.tobytes(), digest_size=8).hexdigest()
            frames.append([str(frame.time_s), digest])
            yield frame.time_s, None

    try:
        probe_film(path)
        ticks = sum(1 for _ in resample_constant(timed()))
    except UnusableFilm as found:
        reason = found.reason.value
    return {"frames": frames, "ticks": ticks, "reason": reason, "damage": report.damage}


if __name__ == "__main__":
    av.logging.set_level(None)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(read(Path(line.rstrip("\n")))) + "\n")
        sys.stdout.flush()
