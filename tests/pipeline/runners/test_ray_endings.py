"""How a command that runs on Ray ends, and what a cluster does when it loses a machine."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# A command with two stages; the second naps as long as argv[3] says. Prints what it sees.
COMMAND = """
import sys, time
from dataclasses import dataclass
from pipeline.reaper import guard_children
from pipeline.runners.ray_runner import RayRunner
from pipeline.stage import Item, Outcome, Result, Stage, StageSpec

@dataclass(frozen=True)
class Config:
    nap_s: float

class Quick(Stage):
    name = "quick"
    version = 1
    def identity(self):
        return None
    def process(self, batch):
        return [Result(Outcome.OK) for work in batch]

class Slow(Quick):
    name = "slow"
    needs = ("quick",)
    def process(self, batch):
        time.sleep(self.config.nap_s)
        return super().process(batch)

def main():
    store_url, run_id, nap_s, address = sys.argv[1:5]
    chain = [StageSpec(Quick, None), StageSpec(Slow, Config(float(nap_s)))]
    items = [Item(f"item-{n}", {"n": n}) for n in range(8)]
    def tell(event):
        print(event.stage, event.item_id, event.outcome, event.computed, flush=True)
    with guard_children():
        RayRunner(address or None).run(
            chain, items, store_url=store_url, run_id=run_id, on_event=tell
        )
    print("ray" in sys.modules, flush=True)

if __name__ == "__main__":
    main()
"""


def descendants(pid: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found: set[int] = set()
    todo = [pid]
    while todo:
        todo += (new := children.get(todo.pop(), []))
        found |= set(new)
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Command:
    """Starts COMMAND on one store as often as wanted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "command.py"
        self.script.write_text(COMMAND)
        self.scratch = folder / "scratch"
        self.scratch.mkdir()

    def start(self, run_id: str, nap_s: float, address: str = "") -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, self.script, self.folder / "store", run_id, str(nap_s), address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "E3D_SCRATCH": str(self.scratch)},
        )


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


def computed(lines: str) -> list[tuple[str, str]]:
    rows = [line.split() for line in lines.splitlines()]
    return [(row[0], row[1]) for row in rows if row[-1] == "True" and len(row) == 4]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_command_ended_by_a_signal_leaves_no_process(
    command: Command, number: signal.Signals
) -> None:
    running = command.start("run", 600)
    assert running.stdout is not None
    while "quick" not in running.stdout.readline():
        assert running.poll() is None
    started = descendants(running.pid)
    assert len(started) > 3
    running.send_signal(number)
    running.communicate(timeout=30)
    deadline_s = time.monotonic() + 20
    while alive := [pid for pid in started if is_alive(pid)]:
        assert time.monotonic() < deadline_s, f"still alive: {alive}"
        time.sleep(0.1)
    if number is not signal.SIGKILL:  # else the next command removes what there is
        assert not list(command.scratch.iterdir())


def test_what_is_done_is_done(command: Command) -> None:
    interrupted = command.start("run", 0.5)
    assert interrupted.stdout is not None
    lines = ""
    while "slow" not in lines:
        assert interrupted.poll() is None
        lines += interrupted.stdout.readline()
    interrupted.send_signal(signal.SIGINT)
    lines += interrupted.communicate(timeout=30)[0]

    rest, _ = command.start("second", 0.5).communicate(timeout=120)
    assert not set(computed(lines)) & set(computed(rest))
    assert rest.count(" ok ") == 16

    nothing, errors = command.start("third", 0.5).communicate(timeout=60)
    assert (computed(nothing), errors) == ([], "")
    assert nothing.splitlines()[-1] == "False", "Ray was imported with nothing to compute"


@pytest.mark.slow
def test_loss_of_a_machine_costs_only_time(command: Command) -> None:
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_AUTH_TOKEN", "0" * 64)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        lost = cluster.add_node(num_cpus=1)
        running = command.start("run", 2, cluster.address)
        assert running.stdout is not None
        lines = ""
        while lines.count("slow") < 2:
            assert running.poll() is None
            lines += running.stdout.readline()
        cluster.remove_node(lost, allow_graceful=False)
        rest, errors = running.communicate(timeout=120)
        assert running.returncode == 0, errors
        ended = [line.split()[:3] for line in (lines + rest).splitlines() if "item" in line]
        assert sorted(ended) == sorted(
            [stage, f"item-{n}", "ok"] for stage in ("quick", "slow") for n in range(8)
        )
    finally:
        cluster.shutdown()
