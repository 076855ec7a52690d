"""Training by two workers: the losses of one, through a kill, and mistakes in one sentence."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_dataset import NAME

from flows.server import PrefectServer
from flows.train import train_network
from pipeline.runners.one_connection import one_connection
from pipeline.training.runs import find_run
from storage.ledger import Ledger
from storage.store import open_store
from tests.flows.command import LIMIT_S, Ended
from tests.flows.conftest import RUN, TRAIN_RECIPE, TrainedRun
from tests.flows.test_train_path import positions
from tests.pipeline.runners.test_ray_endings import descendants


@pytest.fixture(autouse=True)
def _server(prefect_api: PrefectServer) -> None:
    pass


def losses(store: Path) -> dict[tuple[int, str], float]:
    ledger = Ledger(open_store(str(store)))
    commit = ledger.find("export3d", find_run(ledger, RUN).keys["export3d"])
    assert commit is not None
    lines = ledger.store.get(commit.output("metrics.jsonl").key).decode().splitlines()
    rows = [json.loads(line) for line in lines]
    return {(row["step"], row["name"]): row["value"] for row in rows}


def workers() -> list[int]:
    """Processes of Ray Train's workers that this one has started."""
    found = []
    for pid in descendants(os.getpid()):
        try:
            if b"ray::RayTrainWorker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return sorted(found)


def kill_a_worker(store: Path, after: int) -> None:
    """Kill one of the workers as soon as there is a checkpoint of that step."""
    deadline = time.monotonic() + 2 * LIMIT_S
    while time.monotonic() < deadline:
        if (found := workers()) and after in positions(store, "export3d"):
            os.kill(found[-1], signal.SIGKILL)
            return
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_workers_reach_the_losses_of_one_also_after_a_kill(
    trained: TrainedRun, own_store: Path
) -> None:
    def together() -> dict[str, Any]:
        return train_network(str(own_store), NAME, TRAIN_RECIPE, RUN, workers=2)

    with one_connection():
        killer = threading.Thread(target=kill_a_worker, args=(own_store, 5), daemon=True)
        killer.start()
        killed = together()
        killer.join(LIMIT_S)
        assert (killed["outcome"], killed["reason"]) == ("crashed", "workers_failed")
        assert re.fullmatch(
            r"(worker \d|a worker) of the training died: [^.]*; the same command goes on from the "
            r"newest checkpoint",
            killed["detail"],
        )
        assert 5 <= positions(own_store, "export3d")[-1] < 20
        ended = together()
    assert (ended["outcome"], ended["computed"]) == ("ok", 1)
    assert ended["keys"] == trained.result["keys"]  # the number of workers is no setting
    assert positions(own_store, "export3d") == [5, 10, 15, 20]  # it did not begin anew
    expected = losses(trained.store)
    got = losses(own_store)
    assert got == {at: pytest.approx(value, rel=1e-3) for at, value in expected.items()}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workers", "3"], r"3 workers cannot share the 2 pairs of a step evenly; .* are 1, 2$"),
        (["--workers", "2"], r"2 workers need Ray: leave out --ray none, or --workers$"),
        (["--workers", "2", "--gpus", "0.5"], r"2 workers with 0.5 GPU each would share devices"),
    ],
)
def test_a_mistake_is_one_sentence(
    own_store: Path, words: list[str], said: str, e3d_here: Callable[..., Ended]
) -> None:
    given = ["--dataset", NAME, "--recipe", TRAIN_RECIPE, "--run", RUN, "--ray", "none"]
    ended = e3d_here("train", "--store", own_store, *given, *words)
    assert ended.code == 2
    assert re.match(said, ended.sentence)
    assert Ledger(open_store(str(own_store))).names("runs") == []
