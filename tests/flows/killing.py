"""Commands watched while they work: all their processes known, ended by -9, and nothing left."""

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.flows.command import LIMIT_S, Ended, start

GONE_LIMIT_S = 60.0
MARK = "E3D_TEST_MARK"
_LOOK_EVERY_S = 1.0

IsTime = Callable[[], bool]


@dataclass(frozen=True)
class Process:
    """A process, told by its start from a later one with the same number."""

    pid: int
    started: str

    @property
    def is_alive(self) -> bool:
        return state(self.pid) == self

    @property
    def title(self) -> str:
        """Its command line, or the title that it gave itself; empty when it has ended."""
        return _read(f"/proc/{self.pid}/cmdline").replace(b"\0", b" ").decode("utf-8", "replace")


class Running:
    """A command at work. Its processes are looked for now and then, so that none gets lost."""

    def __init__(self, command: "subprocess.Popen[str]", mark: str) -> None:
        self._command, self._mark = command, mark
        self._seen: set[Process] = set()
        self._looked_s = 0.0

    @property
    def is_running(self) -> bool:
        return self._command.poll() is None

    def processes(self) -> set[Process]:
        """The command and all that it has started, as far as they live."""
        self._looked_s = time.monotonic()
        living = {process.pid for process in self._seen if process.is_alive}
        if self.is_running:
            living.add(self._command.pid)
        self._seen |= family(living, self._mark)
        return {process for process in self._seen if process.is_alive}

    def wait_for(self, is_time: IsTime, delay_s: float = 0.0) -> bool:
        """Wait until `delay_s` after `is_time`; False where the command was done before."""
        deadline_s = time.monotonic() + LIMIT_S
        while not is_time() and self.is_running:
            assert time.monotonic() < deadline_s, "the command does not get on"
            if time.monotonic() - self._looked_s > _LOOK_EVERY_S:
                self.processes()
            time.sleep(0.01)
        time.sleep(delay_s)
        return self.is_running

    def reach(self, is_time: IsTime, delay_s: float = 0.0) -> None:
        """Wait as wait_for does; fails, with what the command said, where it was done before."""
        if not self.wait_for(is_time, delay_s):
            ended = self.end()
            raise AssertionError(f"ended too early, with {ended.code}: {ended.err}{ended.out}")

    def end(self, limit_s: float = LIMIT_S) -> Ended:
        """Wait until the command has ended by itself."""
        deadline_s = time.monotonic() + limit_s
        while True:
            try:
                return self._ended(_LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                assert time.monotonic() < deadline_s, "the command does not end"
                self.processes()

    def kill(self) -> Ended:
        """End the command by -9, where it has not ended yet; the rest is its own watcher's work."""
        self.processes()
        self._command.send_signal(signal.SIGKILL)
        return self._ended(LIMIT_S)

    def expect_nothing_left(self) -> None:
        deadline_s = time.monotonic() + GONE_LIMIT_S
        while left := self.processes():
            titles = [(process.pid, process.title) for process in left]
            assert time.monotonic() < deadline_s, f"left behind: {titles}"
            time.sleep(0.1)

    def _ended(self, limit_s: float) -> Ended:
        out, err = self._command.communicate(timeout=limit_s)
        return Ended(self._command.returncode, out, err)


@contextmanager
def running(*words: object, **variables: str) -> Iterator[Running]:
    """Start the command. Fails when anything of it is still there a while after its end."""
    mark = uuid.uuid4().hex
    command = start(*words, **variables, **{MARK: mark})
    watched = Running(command, mark)
    try:
        yield watched
    except BaseException:
        for process in watched.processes():
            kill9(process)
        raise
    finally:
        if watched.is_running:
            watched.kill()
    watched.expect_nothing_left()


def killed(words: list[object], is_time: IsTime, delay_s: float, **variables: str) -> bool:
    """Run the command and kill it `delay_s` after `is_time`; False where it was done before.

    Fails when anything of it is still there after a while.
    """
    with running(*words, **variables) as command:
        was_running = command.wait_for(is_time, delay_s)
        assert not was_running or len(command.processes()) > 1
        ended = command.kill()
    assert was_running or ended.code == 0, ended.err + ended.out
    return was_running


def kill9(process: Process) -> None:
    if process.is_alive:
        os.kill(process.pid, signal.SIGKILL)


def state(pid: int) -> Process | None:
    """The process with this number, if there is one that has not ended."""
    fields = _fields(pid)
    return None if not fields or fields[0] in {b"Z", b"X"} else Process(pid, fields[19].decode())


def family(pids: set[int], mark: str) -> set[Process]:
    """These processes, all that carry the mark in their environment, and all below them."""
    numbers = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    parent_of = {one: int(fields[1]) for one in numbers if (fields := _fields(one))}
    found = pids | {one for one in parent_of if has_mark(one, mark)}
    size = 0
    while size < len(found):
        size = len(found)
        found |= {child for child, parent in parent_of.items() if parent in found}
    return {process for one in found if (process := state(one))}


def has_mark(pid: int, mark: str) -> bool:
    return f"{MARK}={mark}".encode() in _read(f"/proc/{pid}/environ")


def _fields(pid: int) -> list[bytes]:
    """What the kernel says of a process after its name; nothing when it is gone."""
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
