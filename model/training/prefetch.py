"""Batches made in the background while the device computes."""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, Protocol, Self, TypeVar

import torch

_THREADS = max(1, min(4, len(os.sched_getaffinity(0)) - 1))
"""Readers of one process: decoding at random is slower than the paper's network on a fast GPU."""
_STEPS_AHEAD = 2 * _THREADS
_PATIENCE_S = 600.0


class Batch(Protocol):
    """Tensors of one step."""

    def pinned(self) -> Self:
        """Return the batch in memory from which a GPU copies by itself."""
        ...


B = TypeVar("B", bound=Batch)


class Prefetch(Generic[B]):
    """Makes the batches of the next steps in threads of its own.

    A batch depends on its step alone, so they are the same ones as without; `make` must bear to be
    called from several threads. What `make` raises comes out of `take` for the same step.
    """

    def __init__(self, make: Callable[[int], B], device: torch.device) -> None:
        self._make = make
        # A thread begins on GPU 0, whatever its parent works on, so the number has to be known.
        self._gpu = torch.cuda.current_device() if device.type == "cuda" else None
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="batches")
        self._coming: dict[int, Future[B]] = {}

    def take(self, step: int) -> B:
        """Return the batch of a step, on the CPU; steps are asked for in order, each once."""
        for number in range(step, step + 1 + _STEPS_AHEAD):
            if number not in self._coming:
                self._coming[number] = self._pool.submit(self._made, number)
        coming = self._coming.pop(step)
        if not wait([coming], _PATIENCE_S).done:
            raise TimeoutError(f"the frames of step {step + 1} took over {_PATIENCE_S:g} s to read")
        return coming.result()

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _made(self, step: int) -> B:
        if self._gpu is None:
            return self._make(step)
        with torch.cuda.device(self._gpu):
            return self._make(step).pinned()
