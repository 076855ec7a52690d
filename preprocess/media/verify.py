"""Whether a delivered film takes its original's place."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from preprocess.media.colour import LIMITED_RANGE
from preprocess.media.decode import DecodeReport, frame_times
from preprocess.media.probe import FilmInfo, probe_film
from preprocess.media.stretch import Stretch

_RGB_MATRIX = 0
_FPS_TOLERANCE = 0.001


@dataclass(frozen=True)
class Difference:
    """One way in which a delivered film departs from its original, with both values as text."""

    what: str
    original: str
    delivered: str


def verify_delivery(
    original: Path, delivered: Path, *, audio_expected: bool, stretch: Stretch | None = None
) -> tuple[Difference, ...]:
    """Compare frames, times, rate, size, duration, colour tags and sound; empty when all hold.

    Both films are decoded in full, so the delivered one is known to play. Times are compared from
    the first picture on, within one tick of the coarser clock; durations within the longest frame;
    rates within a thousandth. stretch: the part of the original that was to be delivered, in place
    of all of it; the original is not decoded then. Raises UnusableFilm for a film that cannot be
    opened.
    """
    report = DecodeReport()
    if stretch is None:
        old, old_times_s = probe_film(original), _times_s(*frame_times(original))
    else:
        old, old_times_s = stretch.info, _times_s(stretch.info.time_base, stretch.pts)
    new, new_times_s = probe_film(delivered), _times_s(*frame_times(delivered, report))
    exact: list[tuple[str, object, object]] = [
        ("frames", len(old_times_s), len(new_times_s)),
        ("damage", "", report.damage),
        ("size", (old.width, old.height), (new.width, new.height)),
        ("colour tags", _colour(old), _colour(new)),
        ("audio", audio_expected, new.audio is not None),
    ]
    # Headers err: they count frames that an edit list hides, and may end before the last frame.
    lasting_s = max(old.duration_s or 0.0, float(old_times_s[-1]))
    frame_s = max([1 / old.fps, *(float(b - a) for a, b in pairwise(old_times_s))])
    measured = [
        ("fps", _fps(old_times_s), _fps(new_times_s), _FPS_TOLERANCE * old.fps),
        ("duration_s", lasting_s, new.duration_s, frame_s),
    ]
    if len(old_times_s) == len(new_times_s):
        shift_s = max(abs(a - b) for a, b in zip(old_times_s, new_times_s, strict=True))
        tick_s = max(old.time_base, new.time_base)
        measured.append(("times_s", 0.0, float(shift_s), float(tick_s)))
    return (
        *(Difference(what, str(a), str(b)) for what, a, b in exact if a != b),
        *(
            Difference(what, f"{a:.6f}", f"{b:.6f}")
            for what, a, b, tolerance in measured
            if a is not None and b is not None and abs(a - b) > tolerance
        ),
    )


def _times_s(time_base: Fraction, pts: Sequence[int]) -> list[Fraction]:
    """Time of every frame after the first one."""
    return [(stamp - pts[0]) * time_base for stamp in pts]


def _fps(times_s: list[Fraction]) -> float | None:
    return float((len(times_s) - 1) / times_s[-1]) if len(times_s) > 1 else None


def _colour(info: FilmInfo) -> tuple[int, ...]:
    """Colour tags; those of RGB pixels have no counterpart in the delivered film.

    A range that is not told is the limited one: x264 writes no tag where nothing else is told.
    """
    if info.color_space == _RGB_MATRIX:
        return ()
    return (
        info.color_range or LIMITED_RANGE,
        info.color_primaries,
        info.color_transfer,
        info.color_space,
    )
