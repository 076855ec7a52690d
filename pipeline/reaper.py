"""No process is left behind when a command ends, in whatever way: a watcher ends what it started.

The command marks its environment with a cookie, which every process below it inherits, daemons
too. A small watcher in a session of its own holds the other end of a pipe: when the command ends,
even by kill -9, the pipe closes, and the watcher ends all that carries the cookie.

This file is also the watcher's program, so it imports the standard library alone.
"""

import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

COOKIE = "E3D_RUN_COOKIE"

_PROC = Path("/proc")
_GRACE_S = 3.0
_KILL_S = 5.0
_LOOK_EVERY_S = 0.05
_REMEMBER_EVERY_S = 1.0


@contextmanager
def guard_children() -> Iterator[None]:
    """Within the block, no process started below this one outlives it or the block.

    A command inside the block that guards its own children does so with its own cookie and
    watcher. Processes forked without exec from this one are not covered: they share its
    environment as it was at the start. Without /proc (outside Linux) this does nothing.
    """
    if not (_PROC / "self/environ").exists():
        yield
        return
    outer, cookie = os.environ.pop(COOKIE, None), uuid.uuid4().hex
    read_end, write_end = os.pipe()
    watcher = subprocess.Popen(  # noqa: S603  our own file
        [sys.executable, "-I", "-S", __file__, cookie],
        stdin=read_end,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    os.close(read_end)
    pipe = os.fdopen(write_end, "wb")
    os.register_at_fork(after_in_child=pipe.close)  # a fork must not keep the watcher waiting
    os.environ[COOKIE] = cookie
    try:
        yield
    finally:
        os.environ.pop(COOKIE)
        if outer is not None:
            os.environ[COOKIE] = outer
        pipe.close()
        watcher.wait(_GRACE_S + _KILL_S + 5)


def watch(cookie: str) -> None:
    """Wait until standard input ends, then end all processes that carry the cookie.

    On the way it remembers who descends from such: some programs, such as Ray's workers, write
    their title over their environment, and lose their parent before they can be asked.
    """
    mark = f"{COOKIE}={cookie}".encode()
    known: dict[int, str] = {}
    while not select.select([sys.stdin], [], [], _REMEMBER_EVERY_S)[0]:
        known = _marked(mark, known)
    asked: set[int] = set()
    deadline_s = time.monotonic() + _GRACE_S
    while (known := _marked(mark, known)) and time.monotonic() < deadline_s:
        _send(known.keys() - asked, signal.SIGTERM)
        asked |= known.keys()
        time.sleep(_LOOK_EVERY_S)
    deadline_s += _KILL_S
    while (known := _marked(mark, known)) and time.monotonic() < deadline_s:
        _send(known, signal.SIGKILL)
        time.sleep(_LOOK_EVERY_S)


def _marked(mark: bytes, known: dict[int, str]) -> dict[int, str]:
    """Start times, by number, of living processes that are known, carry the mark, or descend so."""
    living = {int(path.name): _status(path) for path in _PROC.iterdir() if path.name.isdigit()}
    found = {
        pid
        for pid, (_, start) in living.items()
        if known.get(pid) == start or mark in _read(_PROC / str(pid) / "environ").split(b"\0")
    }
    size = -1
    while size < len(found):
        size = len(found)
        found |= {pid for pid, (parent, _) in living.items() if parent in found}
    own_file = os.fsencode(__file__)  # a nested command's watcher has work to do itself
    return {
        pid: living[pid][1]
        for pid in found
        if living[pid][1] and own_file not in _read(_PROC / str(pid) / "cmdline").split(b"\0")
    }


def _status(path: Path) -> tuple[int, str]:
    """Parent's number and start time of a process; the time is empty when it has ended."""
    fields = _read(path / "stat").rpartition(b")")[2].split()
    if not fields or fields[0] in {b"Z", b"X"}:
        return 0, ""
    return int(fields[1]), fields[19].decode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (ProcessLookupError, FileNotFoundError, PermissionError):
        return b""


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    watch(sys.argv[1])
