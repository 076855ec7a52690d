from collections.abc import Mapping

import numpy as np
import pytest
import torch

from model.training.loop import Cadence, Run, Schedule, Watch, learning_rate
from model.training.state import StateMismatchError, TrainedState


class Counting:
    """A trainee that notes its steps; each takes a second of the clock it also is."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, str]] = []
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def step(self, step: int, phase: str, fraction: float) -> Mapping[str, torch.Tensor]:
        self.steps.append((step, phase))
        self.now += 1.0
        return {"loss": torch.tensor(1.0 / (step + 1))}

    def sample(self):
        return np.zeros((2, 2, 3), np.uint8), {"quality": float(len(self.steps))}

    def state(self, card):
        return TrainedState({}, card)


def _run(schedule: Schedule, cadence=None, watch=None, position=None):
    trainee = Counting()
    run = Run(
        trainee, schedule, cadence or Cadence(0, 0, 0), watch or Watch(),
        position or schedule.start(), trainee.clock,
    )  # fmt: skip
    return trainee, run.finish()


def test_phases_follow_one_another_and_end_by_steps():
    trainee, state = _run(Schedule({"a": 2, "none": 0, "b": 3}))
    assert trainee.steps == [(0, "a"), (1, "a"), (2, "b"), (3, "b"), (4, "b")]
    assert state.card["ended"] == "steps"
    assert state.card["position"] == {"steps": [2, 0, 3], "seconds": [0, 0, 0]}


def test_a_time_limit_gives_every_phase_its_share_and_says_so():
    trainee, state = _run(Schedule({"a": 300, "b": 100}, max_seconds=20))
    assert [phase for _, phase in trainee.steps] == ["a"] * 15 + ["b"] * 5
    assert state.card["ended"] == "seconds"
    # Phases short of work leave their time; the rest still stops at its own share.
    trainee, state = _run(Schedule({"a": 2, "b": 2}, max_seconds=1000))
    assert len(trainee.steps) == 4
    assert state.card["ended"] == "steps"


def test_no_time_means_no_step():
    trainee, state = _run(Schedule({"a": 5}, max_seconds=0))
    assert trainee.steps == []
    assert state.card["ended"] == "seconds"


def test_a_resumed_run_continues_where_the_saved_one_stood():
    schedule = Schedule({"a": 30, "b": 30}, max_seconds=20)
    whole, _ = _run(schedule)
    for asked in (3, 14):
        first, answers = [], iter([False] * asked + [True])
        half, state = _run(schedule, watch=Watch(should_stop=lambda a=answers: next(a)))
        assert state.card["ended"] == "stopped"
        first = half.steps
        rest, _ = _run(schedule, position=schedule.position(state.card))
        assert first + rest.steps == whole.steps


def test_what_the_caller_hears():
    rows, samples, states, progress = [], [], [], []
    watch = Watch(
        on_metrics=rows.extend, on_sample=lambda step, _: samples.append(step),
        on_checkpoint=lambda state: states.append(state.card["ended"]),
        on_progress=lambda done, total: progress.append((done, total)),
    )  # fmt: skip
    _run(Schedule({"a": 3, "b": 2}), Cadence(2, 3, 4), watch)
    losses = [(r.step, r.phase, round(r.value, 3)) for r in rows if r.name == "loss"]
    assert losses == [(2, "a", 0.5), (4, "b", 0.25)]
    assert samples == [3, 5]
    assert [(r.step, r.phase) for r in rows if r.name == "quality"] == [(3, "a"), (5, "b")]
    assert states == ["running", "steps"]
    assert progress == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_progress_follows_the_time_where_that_is_nearer():
    progress = []
    watch = Watch(on_progress=lambda done, total: progress.append(done / total))
    _run(Schedule({"a": 1000}, max_seconds=4), watch=watch)
    assert progress == [0.25, 0.5, 0.75, 1.0]


def test_a_card_without_the_phases_is_refused():
    with pytest.raises(StateMismatchError, match="no position in the 2 phases"):
        Schedule({"a": 1, "b": 1}).position({"position": {"steps": [1], "seconds": [0.0]}})


def test_learning_rate_rises_then_falls_or_stays():
    assert learning_rate(1e-4, 1.0, 0, 12345, 0.9) == pytest.approx(1e-4)
    assert learning_rate(1.0, 0.1, 10, 0, 0) == pytest.approx(0.1)
    assert learning_rate(1.0, 0.1, 10, 50, 0.5) == pytest.approx(0.55)
    assert learning_rate(1.0, 0.1, 0, 50, 1.0) == pytest.approx(0.1)
