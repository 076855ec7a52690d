"""By how much a delivered film's sound is shifted against its pictures: heard, not read.

Decoded samples of both files are laid on each one's own picture clock (its first picture is zero)
and compared window by window. Shapes: N samples, L shifts that are tried.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import correlate, resample_poly

from preprocess.media.waves import RATE_HZ, Samples, Sound, Wave

MAX_SHIFT_S = 0.4
"""Larger shifts are not found: a beat of music comes back after 0.5 s."""

_WINDOW_S = 4.0
_MOST_WINDOWS = 24
_SILENCE = 3e-4  # root mean square, 70 dB below full scale
_SHORTEST_S = 0.02
# Other times as near as this to the best one are the same peak.
_PEAK_S = 0.0005
# Steps between two samples: 8 microseconds.
_FINER = 16
# Two equally good times differ by less than this, which is rounding.
_LEAST_LEAD = 0.005
# What a shift is compared with where the delivered sound is all but silent.
_ENERGY_FLOOR = 0.1


@dataclass(frozen=True)
class SoundShift:
    """What was heard in windows of a few seconds.

    shift_s: median by which the delivered sound comes later against its pictures than it should;
    None where no window tells. spread_s: between the earliest and the latest window, so a sound
    that runs away shows. heard: windows in which the reference is not silent; matched: those in
    which the delivered sound is the same and tells one time. Heard but not matched: another sound,
    a shift beyond MAX_SHIFT_S, or a steady tone.
    """

    shift_s: float | None
    spread_s: float | None
    heard: int
    matched: int


def measure_sound_shift(
    delivered: Path, reference: Path, *, reference_start_s: float = 0.0
) -> SoundShift:
    """Compare the sound of a delivered film with the sound that it was given.

    reference: the original film, the dub, or a file of sound alone (its zero stands for the first
    picture). reference_start_s: time after the reference's first picture that the delivered film's
    first picture shows, as cut_sound has it; for a stretch of a film, where it starts.

    Exact to 0.1 ms (measured: 0.02 ms, and 0.05 ms where a file is Matroska, whose clock ticks in
    milliseconds). At most 24 windows of 4 s are read, spread over the film, in a hundred MB of
    memory; of files that cannot be entered in the middle the first ten minutes. Raises UnusableFilm
    when one of the files cannot be opened or holds no sound.
    """
    old, new = Sound.of(reference, reference_start_s), Sound.of(delivered, 0.0)
    start_s = max(old.start_s, new.start_s)
    spans = _spread(start_s, min(old.end_s(start_s), new.end_s(start_s)))
    wider = [(a - MAX_SHIFT_S, b + MAX_SHIFT_S) for a, b in spans]
    heard, found = 0, []
    for given, got in zip(old.waves(spans), new.waves(wider), strict=True):
        if not _is_loud(given):
            continue
        heard += 1
        shift_s = _shift_s(given, got)
        if shift_s is not None:
            found.append(shift_s)
    if not found:
        return SoundShift(None, None, heard, 0)
    return SoundShift(float(np.median(found)), max(found) - min(found), heard, len(found))


def _spread(start_s: float, end_s: float) -> list[tuple[float, float]]:
    """Windows that cover a film, or are spread evenly over a longer one."""
    windows = min(_MOST_WINDOWS, math.ceil((end_s - start_s) / _WINDOW_S))
    if windows < 1:
        return []
    length_s = min(_WINDOW_S, (end_s - start_s) / windows)
    starts_s = np.linspace(start_s, end_s - length_s, windows)
    return [(at_s, at_s + length_s) for at_s in starts_s.tolist()]


def _is_loud(given: Wave) -> bool:
    long_enough = len(given.wave_N) > _SHORTEST_S * RATE_HZ
    return long_enough and float(given.wave_N.std()) > _SILENCE


def _shift_s(given: Wave, got: Wave) -> float | None:
    """By how much `given` comes later in `got`; None where no time is clearly the best one.

    The best match must lead over every other time by more than it lacks to a perfect match: then
    what a codec changed cannot have moved it.
    """
    match_L = _match(given.wave_N, got.wave_N)
    if len(match_L) < 2:
        return None
    # Between samples as well: a high note of which a sample meets only the flank is a rival too.
    fine_M = resample_poly(match_L, _FINER, 1, padtype="line")
    best = int(fine_M.argmax())
    apart = np.abs(np.arange(len(fine_M)) - best) > _PEAK_S * RATE_HZ * _FINER
    top, rival = float(fine_M[best]), float(fine_M[apart].max(initial=-1.0))
    if rival > 2 * top - 1 - _LEAST_LEAD:
        return None
    return got.start_s + best / (RATE_HZ * _FINER) - given.start_s


def _match(given_N: Samples, got_N: Samples) -> NDArray[np.float64]:
    """Normalised correlation of `given` with every stretch of `got` of its length, [L].

    Differences of neighbours are compared: hum and rumble tell no time.
    """
    wanted = np.diff(given_N.astype(np.float64))
    there = np.diff(got_N.astype(np.float64))
    if len(there) < len(wanted):
        return np.zeros(0)
    power = np.concatenate([[0.0], np.cumsum(there**2)])
    energy_L = power[len(wanted) :] - power[: -len(wanted)]
    energy = float(np.sum(wanted**2))
    floor = _ENERGY_FLOOR * float(energy_L.max())
    if energy <= 0 or floor <= 0:
        return np.zeros(0)
    product_L = correlate(there, wanted, mode="valid", method="fft")
    match_L: NDArray[np.float64] = product_L / np.sqrt(np.maximum(energy_L, floor) * energy)
    return match_L
