"""A quantity watched while something else works."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def sampled(read: Callable[[], float], every_s: float = 0.5) -> Iterator[list[float]]:
    """Collect what `read` returns, from the block's begin to its end."""
    values = [read()]
    over = threading.Event()

    def sample() -> None:
        while not over.wait(every_s):
            values.append(read())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield values
    finally:
        over.set()
        thread.join(timeout=5)
        values.append(read())
