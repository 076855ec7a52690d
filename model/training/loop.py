"""The loop that every training shares: phases, limits, and what the caller hears meanwhile."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from model.training.state import JSON, StateMismatchError, TrainedState
from model.training.team import Team


class DivergedError(ArithmeticError):
    """A loss is not a finite number. The last checkpoint is the state to go back to."""


@dataclass(frozen=True)
class MetricRow:
    """One measured value at the end of a step (1 is the first)."""

    step: int
    phase: str
    name: str
    value: float


def _nothing(*_: object) -> None:
    return None


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Watch:
    """What the caller is told while a training runs, and how it asks it to stop.

    on_progress gets (done, total) in steps; where a time limit is nearer than the number of
    steps, `total` is what is foretold to be reached. should_stop is asked before every step.
    """

    on_metrics: Callable[[Sequence[MetricRow]], None] = _nothing
    on_sample: Callable[[int, NDArray[np.uint8]], None] = _nothing
    on_checkpoint: Callable[[TrainedState], None] = _nothing
    on_progress: Callable[[int, int], None] = _nothing
    should_stop: Callable[[], bool] = _never


STOPPED = "stopped"
"""What a card's "ended" says of a run that was asked to stop."""


@dataclass(frozen=True)
class Cadence:
    """Every how many steps something is told; 0 is never. The end of a run is always told."""

    metrics_every: int = 100
    sample_every: int = 2000
    checkpoint_every: int = 10_000


@dataclass(frozen=True)
class Position:
    """How far a run has come: steps and, under a time limit, seconds in each phase."""

    steps: tuple[int, ...]
    seconds: tuple[float, ...]

    @property
    def step(self) -> int:
        """Steps of all phases together."""
        return sum(self.steps)

    def card(self) -> dict[str, JSON]:
        """Return the position as plain values."""
        return {"steps": list(self.steps), "seconds": list(self.seconds)}


@dataclass(frozen=True)
class Schedule:
    """Phases one after another, each with its number of steps.

    `max_seconds` is a limit on the time of the whole run, of which every phase has a share
    proportional to its steps; a phase ends at whichever comes first. What a time limit yields
    depends on the machine and cannot be reproduced; without it, results can.
    """

    phases: Mapping[str, int]
    max_seconds: float | None = None

    def start(self) -> Position:
        """Return the position of a run that has done nothing."""
        return Position((0,) * len(self.phases), (0.0,) * len(self.phases))

    def position(self, card: Mapping[str, JSON]) -> Position:
        """Return the position that a saved card holds."""
        match card:
            case {"position": {"steps": [*steps], "seconds": [*seconds]}} if (
                len(steps) == len(seconds) == len(self.phases)
            ):
                return Position(
                    tuple(int(str(n)) for n in steps), tuple(float(str(s)) for s in seconds)
                )
        raise StateMismatchError(f"the card has no position in the {len(self.phases)} phases")

    def _share(self, position: Position, index: int) -> float:
        """Return how much of a phase is done, 1 or more where it has ended."""
        planned = list(self.phases.values())[index]
        if not planned:
            return 1.0
        done = position.steps[index] / planned
        if self.max_seconds is not None:
            limit_s = self.max_seconds * planned / sum(self.phases.values())
            done = max(done, position.seconds[index] / limit_s if limit_s > 0 else 1.0)
        return done

    def current(self, position: Position) -> int | None:
        """Return the index of the phase to work in, or None at the end."""
        open_ = [n for n in range(len(self.phases)) if self._share(position, n) < 1]
        return open_[0] if open_ else None

    def fraction(self, position: Position) -> float:
        """Return how much of the whole run is done, 0 to 1."""
        planned = list(self.phases.values())
        done = sum(min(self._share(position, n), 1) * steps for n, steps in enumerate(planned))
        return done / max(sum(planned), 1)

    def ended_by(self, position: Position) -> str:
        """Return "steps", or "seconds" where time cut a phase short."""
        return "steps" if position.steps == tuple(self.phases.values()) else "seconds"


def learning_rate(base: float, final: float, warmup: int, step: int, fraction: float) -> float:
    """Return the rate of a step: linear warm-up, then a cosine from `base` to `base x final`."""
    cosine = (1 + math.cos(math.pi * fraction)) / 2
    return base * min(1.0, (step + 1) / max(warmup, 1)) * (final + (1 - final) * cosine)


class Trainee(Protocol):
    """A training as the loop sees it."""

    def step(self, step: int, phase: str, fraction: float) -> Mapping[str, Tensor]:
        """Do one optimiser step; return its losses, which need not have been waited for."""
        ...

    def sample(self) -> tuple[NDArray[np.uint8], Mapping[str, float]] | None:
        """Return a picture of the present skill and measures of it, or None."""
        ...

    def state(self, card: Mapping[str, JSON]) -> TrainedState:
        """Return the whole state; `card` is added to its card."""
        ...


@dataclass
class Run:
    """One training on its way through a schedule.

    Of a team all processes go the same way, step by step: what the leader's watch and clock say
    counts for all of them, and it alone shows and keeps anything.
    """

    trainee: Trainee
    schedule: Schedule
    cadence: Cadence
    watch: Watch
    position: Position
    clock: Callable[[], float] = time.monotonic
    team: Team = field(default_factory=Team)
    shown: int = 0  # the step at which skill was last shown

    def finish(self) -> TrainedState:
        """Train to the end of the schedule, or until asked to stop; return the state reached.

        The card's "ended" says why: "steps", "seconds" or "stopped".
        """
        names = list(self.schedule.phases)
        stopped = False
        while (index := self.schedule.current(self.position)) is not None:
            if stopped := bool(self.team.agreed(self.watch.should_stop())):
                break
            self._advance(index, names[index])
        ended = STOPPED if stopped else self.schedule.ended_by(self.position)
        if self.position.step != self.shown:
            self._show(names[-1] if index is None else names[index])
        state = self._state(ended)
        if self.team.leads:
            self.watch.on_checkpoint(state)
        return state

    def _advance(self, index: int, phase: str) -> None:
        began = self.clock()
        before = self.position
        losses = self.trainee.step(before.step, phase, self.schedule.fraction(before))
        steps = (*before.steps[:index], before.steps[index] + 1, *before.steps[index + 1 :])
        self.position = replace(before, steps=steps)
        number = self.position.step
        told = _due(number, self.cadence.metrics_every)
        kept = _due(number, self.cadence.checkpoint_every)
        if told or kept or self.schedule.current(self.position) is None:
            values = _finite(self.team.means(losses), number)
            if told:
                self._tell(phase, values)
        if _due(number, self.cadence.sample_every):
            self._show(phase)
        if self.schedule.max_seconds is not None:
            spent = self.position.seconds[index] + self.team.agreed(self.clock() - began)
            seconds = (*before.seconds[:index], spent, *before.seconds[index + 1 :])
            self.position = replace(self.position, seconds=seconds)
        foretold = round(number / self.schedule.fraction(self.position))
        if self.team.leads:
            self.watch.on_progress(number, max(number, foretold))
            if kept:
                self.watch.on_checkpoint(self._state("running"))

    def _tell(self, phase: str, values: Mapping[str, float]) -> None:
        if not self.team.leads:
            return
        step = self.position.step
        self.watch.on_metrics([MetricRow(step, phase, name, v) for name, v in values.items()])

    def _show(self, phase: str) -> None:
        self.shown = self.position.step
        if not self.team.leads:
            return
        shown = self.trainee.sample()
        if shown is not None:
            picture, measures = shown
            self.watch.on_sample(self.position.step, picture)
            self._tell(phase, measures)

    def _state(self, ended: str) -> TrainedState:
        return self.trainee.state({"position": self.position.card(), "ended": ended})


def _finite(losses: Mapping[str, Tensor], step: int) -> dict[str, float]:
    """Fetch the losses; no checkpoint is written, and no number told, that is none."""
    values = {name: float(value) for name, value in losses.items()}
    for name, value in values.items():
        if not math.isfinite(value):
            raise DivergedError(
                f"the loss {name} is {value} at step {step}; go back to the last checkpoint with a "
                "lower learning rate, or look for the cause with check_gradients"
            )
    return values


def _due(number: int, every: int) -> bool:
    return every > 0 and number % every == 0
