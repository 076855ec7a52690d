"""Time stamps of a film's pictures: in order, and free of the jumps that damage makes."""

from fractions import Fraction

import av

# A clock that steps back by more than this is a splice of two recordings, not a stray time stamp.
_JUMP_S = 1.0
# A still held for longer is no film of anybody; one wrong stamp could ask for years of it.
_LONGEST_GAP_S = 60.0
# A film may end earlier than its container says by this much before it counts as cut short.
_EARLY_END_S = 1.0


class Clock:
    """Keeps a film's time stamps strictly increasing."""

    def __init__(self, time_base: Fraction, rate: Fraction | None) -> None:
        self._time_base = time_base
        self._interval = max(1, round(1 / (rate * time_base))) if rate else 1
        self._last: int | None = None
        self._before_gap: int | None = None
        self._longest = self._interval
        self._end = 0

    def place(self, frame: av.VideoFrame) -> tuple[int | None, str]:
        """(pts, "") of a frame; (None, "") for one to be dropped; (None, sentence) for a jump.

        A frame without a stamp (raw streams have none) follows its predecessor by the frame rate.
        """
        last = self._last
        pts = frame.pts
        if pts is None:
            pts = 0 if last is None else last + self._interval
        if last is not None:
            step_s = self._seconds(pts - last)
            if step_s < -_JUMP_S:
                return None, f"the film's clock jumps back by {-step_s:.3f} s"
            if step_s > _LONGEST_GAP_S:
                return None, f"the film's clock jumps ahead by {step_s:.3f} s"
            if pts <= last:
                return None, ""
            self._longest = max(self._longest, pts - last)
            self._before_gap = last if step_s > _JUMP_S else None
        self._last = pts
        self._end = pts + max(frame.duration, self._interval)
        return pts, ""

    @property
    def is_after_gap(self) -> bool:
        """Whether the frame placed last came later than frames usually do."""
        return self._before_gap is not None

    def was_stray(self, frame: av.VideoFrame) -> bool:
        """Whether `frame`, at which the clock jumped, belongs before the frame placed last."""
        return self._before_gap is not None and (frame.pts or 0) > self._before_gap

    def early_end(self, declared_s: Fraction | None) -> str:
        """Sentence when the pictures end clearly before the declared end, else ""."""
        if declared_s is None:
            return ""
        missing_s = float(declared_s) - self._seconds(self._end)
        if missing_s <= _EARLY_END_S + self._seconds(self._longest):
            return ""
        return f"the pictures end {missing_s:.1f} s before the film's declared end"

    def _seconds(self, ticks: int) -> float:
        return float(ticks * self._time_base)
