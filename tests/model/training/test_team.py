"""Several processes do the optimisation of one: real processes, joined by gloo."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model.training.loop import Watch
from model.training.state import TrainedState
from model.training.team import Team, UnevenShareError, check_share
from storage.checkpoints import read_checkpoint, write_checkpoint
from tests.model.training import team_member


class Stop:
    """Lets a number of steps pass."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


ROOT = Path(__file__).parents[3]


def start(folder: Path, rank: int, size: int) -> "subprocess.Popen[str]":
    words = [sys.executable, "-m", team_member.__name__, folder, str(rank), str(size)]
    return subprocess.Popen(
        words,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT}/tests"},
        stderr=subprocess.PIPE,
        text=True,
    )


def train_together(
    folder: Path, size: int, state: TrainedState | None = None, **given
) -> list[TrainedState]:
    """Train in `size` processes; what each of them returns."""
    folder.mkdir()
    if state is not None:
        (folder / "state").mkdir()
        write_checkpoint(folder / "state", state.tensors, state.card)
    (folder / "given.json").write_text(json.dumps({**given, "resume": state is not None}))
    members = [start(folder, rank, size) for rank in range(size)]
    try:
        for member in members:
            _, said = member.communicate(timeout=team_member.LIMIT_S)
            assert member.returncode == 0, said
    finally:
        for member in members:
            member.kill()
    return [TrainedState(*read_checkpoint(folder / f"rank{rank}")) for rank in range(size)]


@pytest.fixture(scope="module")
def alone() -> tuple[TrainedState, dict[tuple[int, str], float]]:
    """The same training in one process, with the losses that it told."""
    rows = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    state = team_member.train(None, Watch(on_metrics=rows.extend))
    torch.set_num_threads(threads)
    return state, {(row.step, row.name): row.value for row in rows}


def read(path: Path):
    return json.loads(path.read_text())


def gap(one: TrainedState, other: TrainedState, group: str) -> float:
    """Root mean square of the weights' difference, in units of the learning rate."""
    a, b = (torch.cat([t.flatten() for _, t in sorted(s.tensors[group].items())])
            for s in (one, other))  # fmt: skip
    return float((a - b).square().mean().sqrt()) / team_member.CONFIG.learning_rate


def same(one: TrainedState, other: TrainedState) -> bool:
    return all(
        torch.equal(tensor, other.tensors[group][name])
        for group, tensors in one.tensors.items()
        for name, tensor in tensors.items()
    )


def test_two_processes_do_the_optimisation_of_one(alone, tmp_path):
    whole, losses = alone
    first, second = train_together(tmp_path / "two", 2)
    assert same(first, second)
    assert first.card == second.card == whole.card
    told = read(tmp_path / "two/rank0/losses.json")
    assert told.keys() == {f"{step} {name}" for step, name in losses}
    for (step, name), value in losses.items():
        assert told[f"{step} {name}"] == pytest.approx(value, rel=1e-4, abs=1e-6), (step, name)
    for group in ("weights", "discriminator"):
        assert gap(first, whole, group) < 1e-3


def test_a_run_goes_on_with_another_number_of_processes_and_stops_in_all_of_them(alone, tmp_path):
    whole, _ = alone
    begun = team_member.train(None, Watch(should_stop=Stop(2)))
    changes = {"max_seconds": 1e6}  # the time, too, has to be the same in both
    first, second = train_together(tmp_path / "two", 2, begun, stop_after=2, changes=changes)
    assert first.card == second.card
    assert first.card["ended"] == "stopped"
    assert first.card["position"]["steps"] == [3, 1]
    assert first.card["position"]["seconds"][1] > 0
    assert same(first, second)
    told, silent = (read(tmp_path / f"two/rank{rank}/told.json") for rank in (0, 1))
    assert told == ["3 of 6", "4 of 6", "running", "sample 4", "stopped"]
    assert silent == []
    assert read(tmp_path / "two/rank1/losses.json") == {}
    for group in ("weights", "discriminator"):
        assert gap(team_member.train(first, Watch()), whole, group) < 1e-3


def test_a_batch_that_cannot_be_shared_evenly_is_one_sentence():
    check_share(8, 4)
    with pytest.raises(UnevenShareError, match="3 workers cannot share the 8 pairs of a step"):
        check_share(8, 3)
    with pytest.raises(UnevenShareError, match=r"evenly; allowed are 1, 2, 4, 8$"):
        check_share(8, 16)


def test_shares_are_disjoint_and_make_the_whole():
    batch = list(range(6))
    shares = [Team(rank, 3).share(batch) for rank in range(3)]
    assert sorted(pair for share in shares for pair in share) == batch
    assert {len(share) for share in shares} == {2}


def test_each_pair_gets_the_numbers_that_it_would_get_alone():
    torch.manual_seed(5)
    alone = [torch.rand(4, 3), torch.rand(4, 2, 2)]
    for rank in range(2):
        team = Team(rank, 2)
        torch.manual_seed(5)
        with team.drawing():
            drawn = [torch.rand(2, 3), torch.rand(2, 2, 2)]
        assert all(torch.equal(a, team.share(b)) for a, b in zip(drawn, alone, strict=True))
