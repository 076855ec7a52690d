"""Frames of several shots, rendered in common batches.

A device that takes eight frames at a time idles where a shot ends with three, and while a shot
reads and writes its film. Shots that are worked on side by side, each in a thread of its own, fill
each other's batches.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Generic, Protocol, TypeVar

Row = TypeVar("Row")
Frame_co = TypeVar("Frame_co", covariant=True)


class Rendered(Protocol[Frame_co]):
    """A batch that may still be in the making."""

    def frame(self, index: int) -> Frame_co:
        """Return one of its frames; waits for the batch."""
        ...


@dataclass(eq=False)
class _Stream(Generic[Row, Frame_co]):
    """Rows of one shot that are still to be rendered, and its frames that wait to be taken."""

    rows: deque[Row]
    frames: deque[tuple[Rendered[Frame_co], int]] = field(default_factory=deque)


class FrameMixer(Generic[Row, Frame_co]):
    """Renders the rows of open streams, `batch` at a time; for any number of threads.

    Whoever takes a frame that is not there yet renders a batch: rows of their own shot first, what
    room is left by rows of the others. `batches_ahead` are rendered before they are needed: more
    than none where rendering goes on by itself while frames are used.
    """

    def __init__(
        self,
        render: Callable[[Sequence[Row]], Rendered[Frame_co]],
        batch: int,
        batches_ahead: int = 0,
    ) -> None:
        self._render, self._batch = render, batch
        self._ahead = batch * batches_ahead
        self._streams: list[_Stream[Row, Frame_co]] = []
        # Again by the same thread: a stream that nobody reads on may be collected at any moment.
        self._lock = RLock()

    def stream(self, rows: Sequence[Row]) -> Iterator[Frame_co]:
        """Give a frame for each row, in order, each rendered when it is taken, or before."""
        own = _Stream[Row, Frame_co](deque(rows))
        with self._lock:
            self._streams.append(own)
        try:
            while own.rows or own.frames:
                with self._lock:
                    while own.rows and len(own.frames) <= self._ahead:
                        self._render_batch(own)
                    batch, index = own.frames.popleft()
                yield batch.frame(index)
        finally:
            with self._lock:
                self._streams.remove(own)

    def _render_batch(self, first: _Stream[Row, Frame_co]) -> None:
        rows: list[Row] = []
        owners: list[_Stream[Row, Frame_co]] = []
        for stream in (first, *(one for one in self._streams if one is not first)):
            # Frames that wait take memory: nobody gets more than they would have rendered.
            room = self._batch if stream is first else self._ahead + 1 - len(stream.frames)
            for _ in range(min(room, self._batch - len(rows), len(stream.rows))):
                rows.append(stream.rows.popleft())
                owners.append(stream)
        try:
            rendered = self._render(rows)
        except BaseException:  # whose thread this is ends by it; the others have lost nothing
            for owner, row in zip(reversed(owners), reversed(rows), strict=True):
                owner.rows.appendleft(row)
            raise
        for index, owner in enumerate(owners):
            owner.frames.append((rendered, index))
