import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.reaper import COOKIE, guard_children

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="processes are found through /proc"
)

SLEEPER = "import time; time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); {SLEEPER}"
DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        time.sleep(600)
    os._exit(0)
"""


def family(*, deaf: bool, last: str) -> str:
    """Return a guarded command: starts a sleeper, one that may be deaf to SIGTERM, and a daemon.

    It prints their numbers; `last` is what it does then.
    """
    return f"""
import subprocess, sys, time
from pipeline.reaper import guard_children
def start(code):
    return subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE)
with guard_children():
    first = start({SLEEPER!r})
    second = start({DEAF if deaf else "print(flush=True);" + SLEEPER!r})
    second.stdout.readline()
    third = start({DAEMON!r})
    print(first.pid, second.pid, int(third.stdout.readline()), flush=True)
    {last}
"""


# A guarded command whose child is the guarded command argv[1].
NESTED = """
import subprocess, sys, time
from pipeline.reaper import guard_children
with guard_children():
    inner = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
    print(inner.pid, inner.stdout.readline().decode(), flush=True)
    time.sleep(600)
"""


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def wait_until_gone(pids: list[int]) -> None:
    deadline_s = time.monotonic() + 20
    while alive := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline_s, f"still alive: {alive}"
        time.sleep(0.05)


def start(*arguments: str) -> tuple[subprocess.Popen[bytes], list[int]]:
    command = subprocess.Popen([sys.executable, "-c", *arguments], stdout=subprocess.PIPE)
    assert command.stdout is not None
    pids = [int(word) for word in command.stdout.readline().split()]
    assert len(pids) >= 3
    assert all(is_alive(pid) for pid in pids)
    return command, pids


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_command_leaves_nothing(number: signal.Signals) -> None:
    command, pids = start(family(deaf=number is signal.SIGKILL, last=SLEEPER))
    command.send_signal(number)
    command.wait(20)
    wait_until_gone(pids)


def test_command_that_ends_leaves_nothing() -> None:
    command, pids = start(family(deaf=True, last="pass"))
    assert command.wait(20) == 0
    assert not any(is_alive(pid) for pid in pids)


def test_killed_outer_command_takes_the_nested_one_along() -> None:
    command, pids = start(NESTED, family(deaf=False, last=SLEEPER))
    command.kill()
    command.wait(20)
    wait_until_gone(pids)


def test_killed_nested_command_leaves_nothing_while_the_outer_goes_on() -> None:
    command, pids = start(NESTED, family(deaf=False, last=SLEEPER))
    inner, *below = pids
    subprocess.run(["kill", "-9", str(inner)], check=True, timeout=20)
    wait_until_gone(below)
    assert command.poll() is None
    command.kill()
    command.wait(20)


def test_strangers_are_left_alone() -> None:
    stranger = subprocess.Popen([sys.executable, "-S", "-c", SLEEPER])
    try:
        command, pids = start(family(deaf=False, last=SLEEPER))
        command.kill()
        command.wait(20)
        wait_until_gone(pids)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait(20)


def test_environment_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COOKIE, "outer")
    with guard_children():
        assert os.environ[COOKIE] != "outer"
    assert os.environ[COOKIE] == "outer"
