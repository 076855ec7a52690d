"""Constant frame rate from true times."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TypeVar

T = TypeVar("T")


def resample_constant(
    frames: Iterable[tuple[Fraction, T]], fps: Fraction | int = 25
) -> Iterator[tuple[int, T]]:
    """Give (tick, payload) at a constant rate from (time in s, payload) pairs in time order.

    Tick k stands at first time + k / fps and shows the source frame nearest to it; midway between
    two, the earlier one. Ticks run up to the last frame's time and not beyond: a film of N frames
    at constant rate r gives floor((N - 1) * fps / r) + 1 ticks. Streaming: two payloads are held at
    most. Exact for Fractions. Raises ValueError when times do not increase.
    """
    tick = 0
    step_s = 1 / Fraction(fps)
    start_s: Fraction | None = None
    shown_s: Fraction = Fraction(0)
    shown: T
    for time_s, payload in frames:
        if start_s is None:
            start_s, shown_s, shown = time_s, time_s, payload
            continue
        if time_s <= shown_s:
            raise ValueError(f"times must increase: {float(time_s)} s after {float(shown_s)} s")
        while 2 * (start_s + tick * step_s) <= shown_s + time_s:
            yield tick, shown
            tick += 1
        shown_s, shown = time_s, payload
    while start_s is not None and start_s + tick * step_s <= shown_s:
        yield tick, shown
        tick += 1
