"""Time on a CPU or a GPU, by the same calls."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch

Stamp: TypeAlias = "float | torch.cuda.Event"


@dataclass(frozen=True)
class Clock:
    """Stamps moments of a device's work.

    On a GPU a stamp is an event in the queue of its work, so that taking it makes nobody wait. On a
    CPU it is the time or, with `processor`, this process's processor time, which a busy machine
    hardly changes.
    """

    device: torch.device
    processor: bool = False

    @property
    def name(self) -> str:
        """What is counted, for the reader of a figure."""
        if self.device.type == "cuda":
            return "events on the device"
        return "processor time of all threads" if self.processor else "time"

    def stamp(self) -> Stamp:
        """Return this moment."""
        if self.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            return event
        return time.process_time() if self.processor else time.perf_counter()

    def wait(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def durations_s(self, stamps: list[Stamp]) -> list[float]:
        """Return the seconds between neighbouring stamps."""
        self.wait()
        return [_seconds(first, last) for first, last in itertools.pairwise(stamps)]

    def repeated_s(self, work: Callable[[], object], repeats: int, warmup: int) -> list[float]:
        """Return the seconds of each of `repeats` runs of `work`, after `warmup` runs."""
        for _ in range(warmup):
            work()
        self.wait()
        stamps = [self.stamp()]
        for _ in range(repeats):
            work()
            stamps.append(self.stamp())
        return self.durations_s(stamps)


def _seconds(first: Stamp, last: Stamp) -> float:
    if isinstance(first, float) and isinstance(last, float):
        return last - first
    return first.elapsed_time(last) / 1000  # type: ignore[union-attr, arg-type]
