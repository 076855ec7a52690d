"""Several processes that work together: where they find a place, and how they end."""

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from pipeline.runners.contract import RunError
from pipeline.runners.embedded import connected
from pipeline.runners.fit import Node
from pipeline.runners.together import Report, run_together, share_out
from pipeline.stage import Resources, ShouldStop, never

EIGHT = Resources(cpus=8, memory_gib=6)


def test_workers_get_what_they_ask_for_where_there_is_room() -> None:
    assert share_out([Node(16, 0, 64)], 2, EIGHT) == EIGHT
    assert share_out([Node(8, 0, 8), Node(8, 0, 8)], 2, EIGHT) == EIGHT
    assert share_out([Node(4, 0, 4)], 2, Resources(cpus=4, memory_gib=1)).cpus == 2


def test_workers_share_the_cores_and_memory_of_a_small_machine() -> None:
    assert share_out([Node(2, 0, 8)], 2, EIGHT) == Resources(cpus=1, memory_gib=3)
    assert share_out([Node(1, 0, 16)], 4, EIGHT) == Resources(cpus=0.25, memory_gib=1.5)
    # Bundles do not span machines: three of 8 cores do not fit on two machines of 12.
    assert share_out([Node(12, 0, 64), Node(12, 0, 64)], 3, EIGHT).cpus == 4


def test_gpus_are_not_shared() -> None:
    each = Resources(cpus=8, gpus=1, memory_gib=6)
    machine = Node(16, 4, 200)
    assert share_out([machine], 4, each) == Resources(cpus=4, gpus=1, memory_gib=3)
    with pytest.raises(ConfigurationError, match=r"8 workers ask for 1 GPU each, and .* for 4:"):
        share_out([machine], 8, each)
    with pytest.raises(ConfigurationError, match="offers cores"):
        share_out([], 2, each)


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    with connected(None):
        yield


def sum_of_ranks(folder: Path, rank: int, report: Report, _should_stop: ShouldStop) -> None:
    import torch
    from torch import distributed

    value = torch.tensor([rank + 1.0])
    distributed.all_reduce(value)
    report(int(value), 10)
    (folder / f"rank{rank}").write_text(f"{value.item()} {os.getpid()} {torch.get_num_threads()}")


class HopelessError(Exception):
    pass


def fail_in_one(rank: int, report: Report, _should_stop: ShouldStop) -> None:
    from torch import distributed

    if rank == 1:
        raise HopelessError("rank 1 found nothing to do")
    distributed.barrier()


def stop_when_told(folder: Path, rank: int, report: Report, should_stop: ShouldStop) -> None:
    """Only the first is told, and tells the other."""
    import torch
    from torch import distributed

    is_over, rounds = torch.tensor([0.0]), 0
    while not is_over:
        rounds += 1
        report(rounds, 10_000)
        time.sleep(0.05)
        is_over = torch.tensor([float(should_stop())])
        assert rank == 0 or not is_over
        distributed.broadcast(is_over, 0)
    (folder / f"rank{rank}").write_text(str(rounds))


def die_in_one(rank: int, report: Report, _should_stop: ShouldStop) -> None:
    from torch import distributed

    distributed.barrier()
    if rank == 1:
        time.sleep(4)  # by then both are known to be at work
        os.kill(os.getpid(), signal.SIGKILL)
    distributed.barrier()


def run(
    part,
    folder: Path,
    report: Report = lambda done, total: None,
    should_stop: ShouldStop = never,
) -> None:
    run_together(
        part,
        workers=2,
        each=Resources(cpus=1, memory_gib=0.5),
        folder=folder,
        report=report,
        patience_s=300,
        should_stop=should_stop,
    )


@pytest.mark.slow
def test_processes_are_joined_and_heard(ray: None, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    run(partial(sum_of_ranks, tmp_path), tmp_path, lambda *said: heard.append(said))
    said = [(tmp_path / f"rank{rank}").read_text().split() for rank in range(2)]
    assert [value for value, _, _ in said] == ["3.0", "3.0"]
    assert len({pid for _, pid, _ in said} | {str(os.getpid())}) == 3
    assert {threads for _, _, threads in said} == {"1"}
    assert set(heard) <= {(3, 10)}


@pytest.mark.slow
def test_the_first_process_is_told_to_stop_and_all_end_by_themselves(
    ray: None, tmp_path: Path
) -> None:
    heard: list[tuple[int, int]] = []
    part = partial(stop_when_told, tmp_path)
    run(part, tmp_path, lambda *said: heard.append(said), lambda: len(heard) >= 2)
    rounds = {(tmp_path / f"rank{rank}").read_text() for rank in range(2)}
    assert len(rounds) == 1


@pytest.mark.slow
def test_what_one_process_raises_arrives(ray: None, tmp_path: Path) -> None:
    with pytest.raises(HopelessError, match="rank 1 found nothing to do"):
        run(fail_in_one, tmp_path)


@pytest.mark.slow
def test_a_process_that_is_killed_ends_all_in_one_sentence(ray: None, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^(worker 1|a worker) of the training died: its"):
        run(die_in_one, tmp_path)
