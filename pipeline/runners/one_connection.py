"""One connection to Ray for several runs: starting Ray takes longer than many a run."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

_kept: ContextVar[ExitStack | None] = ContextVar("kept_connection", default=None)


@contextmanager
def one_connection() -> Iterator[None]:
    """Let runs within the block share the connection that the first of them makes.

    It is closed at the end of the block. Where no run needs Ray, none is made.
    """
    if _kept.get() is not None:
        yield
        return
    with ExitStack() as stack:
        token = _kept.set(stack)
        stack.callback(_kept.reset, token)
        yield


@contextmanager
def connection_stack() -> Iterator[ExitStack]:
    """Give the stack on which a connection ends: that of the block, or one of its own."""
    kept = _kept.get()
    if kept is not None:
        yield kept
        return
    with ExitStack() as own:
        yield own
