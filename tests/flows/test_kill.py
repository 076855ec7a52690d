"""`e3d preprocess` killed at random moments, and then run again as if nothing had happened."""

import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_dataset import NAME, RECIPE, dataset_files

from flows.server import PrefectServer
from tests.flows.command import LIMIT_S, e3d, start

SEED = 20260
GONE_LIMIT_S = 60.0
MARK = "E3D_TEST_MARK"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")


@dataclass(frozen=True)
class Process:
    """A process, told by its start from a later one with the same number."""

    pid: int
    started: str

    @property
    def is_alive(self) -> bool:
        return state(self.pid) == self


def state(pid: int) -> Process | None:
    """The process with this number, if there is one that has not ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else Process(pid, fields[19])


def parents() -> dict[int, int]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[int(path.parent.name)] = int(fields[1])
    return found


def family(pid: int, mark: str) -> set[Process]:
    """A process, all below it, and all that carry the mark of its environment."""
    parent_of = parents()
    found = {pid} | {one for one in parent_of if has_mark(one, mark)}
    size = 0
    while size < len(found):
        size = len(found)
        found |= {child for child, parent in parent_of.items() if parent in found}
    return {process for one in found if (process := state(one))}


def has_mark(pid: int, mark: str) -> bool:
    try:
        return f"{MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def killed(
    words: list[object], is_time: Callable[[], bool], delay_s: float, **variables: str
) -> bool:
    """Run the command and kill it `delay_s` after `is_time`; False where it was done before.

    Fails when anything of it is still there after a while.
    """
    mark = uuid.uuid4().hex
    command = start(*words, **variables, **{MARK: mark})
    try:
        deadline = time.monotonic() + LIMIT_S
        while not is_time() and command.poll() is None:
            assert time.monotonic() < deadline, "the command does not get on"
            time.sleep(0.01)
        time.sleep(delay_s)
        was_running = command.poll() is None
        below = family(command.pid, mark)
        assert len(below) > 1 or not was_running
    finally:
        command.send_signal(signal.SIGKILL)
        out, err = command.communicate(timeout=LIMIT_S)
    assert was_running or command.returncode == 0, err + out
    deadline = time.monotonic() + GONE_LIMIT_S
    while left := {one for one in below | family(command.pid, mark) if one.is_alive}:
        assert time.monotonic() < deadline, f"left behind: {[command_line(one) for one in left]}"
        time.sleep(0.1)
    return was_running


def records(folder: Path) -> int:
    return sum(1 for _ in folder.rglob("*.json"))


def command_line(process: Process) -> str:
    return subprocess.run(
        ["ps", "-o", "pid=,ppid=,args=", "-p", str(process.pid)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    ).stdout.strip()


def test_a_killed_command_goes_on_to_the_same_dataset(
    prefect_api: PrefectServer,
    small_store: Path,
    short_man: Path,
    short_woman: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, scratch, home = tmp_path / "store", tmp_path / "scratch", tmp_path / "home"
    monkeypatch.setenv("E3D_SCRATCH", str(scratch))
    words: list[object] = ["preprocess", short_man, short_woman, "--store", store]
    words += ["--dataset", NAME, "--recipe", RECIPE, "--json"]
    chance = random.Random(SEED)

    def more(folder: str, count: int) -> Callable[[], bool]:
        """Tells when so many records have come to a folder of the ledger from now on."""
        before = records(store / folder)
        return lambda: records(store / folder) >= before + count

    # While its own Prefect server starts; from then on the shared one is used.
    server_begins = (home / "prefect/server.lock").exists
    own = {"E3D_HOME": str(home), "PREFECT_API_URL": ""}
    assert killed(words, server_begins, chance.uniform(0, 2), **own)

    moments = [("attempts", 1), ("ledger", 1), ("attempts", 2), ("ledger", 2)]
    hits = [killed(words, more(*moment), chance.uniform(0, 0.4)) for moment in moments]
    # On a quick machine the command may be done before some of the kills come.
    assert any(hits), "the command was quicker than the test"

    ended = e3d(*words)
    assert ended.code == 0, ended.err
    assert ended.result["outcomes"] == {"ok": 2}
    undisturbed, survivor = dataset_files(small_store), dataset_files(store)
    assert survivor.keys() == undisturbed.keys()
    assert [key for key, data in undisturbed.items() if survivor[key] != data] == []
    assert not any(scratch.iterdir())
