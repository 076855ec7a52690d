"""The contract of a stage: what goes in, what comes out, and under which key it is remembered.

A stage is a plain class that knows neither its runner nor its neighbours. Its key says everything
that its bytes depend on, and can be computed for a whole chain before anything has run, because it
names the keys of earlier stages and not their outputs.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from storage.identity import JSON, digest
from storage.ledger import Commit, Ledger


class Outcome(StrEnum):
    """How an item ends a stage; exactly one of these."""

    OK = "ok"
    FILTERED = "filtered"
    FAILED = "failed"
    CRASHED = "crashed"


CANCELLED = "cancelled"
"""Reason of an item that a cancelled run has left undone."""

ShouldStop = Callable[[], bool]


def never() -> bool:
    """Do not stop."""
    return False


class InterruptedStageError(Exception):
    """Raised by a stage that was asked to stop, and has kept what it needs to go on later."""


@dataclass(frozen=True)
class Resources:
    """What one worker needs while it is busy with a stage."""

    cpus: float = 1
    """Cores, and threads (OMP_NUM_THREADS). A machine with fewer gives what it has."""
    gpus: float = 0
    """Devices; a fraction shares one. A cluster without them refuses the run."""
    memory_gib: float = 1
    """Peak resident memory of the worker's process, for admission."""


@dataclass(frozen=True)
class Ended:
    """Why an item goes no further: the stage that ended it, and how."""

    stage: str
    outcome: Outcome
    reason: str
    """One word for tables, such as no_face."""
    detail: str = ""
    """One sentence for people."""


@dataclass(frozen=True)
class Item:
    """One unit of work on its way through the stages."""

    id: str
    inputs: Mapping[str, JSON]
    """What the result depends on, such as the film's digest; enters every key."""
    places: Mapping[str, JSON] = field(default_factory=dict)
    """Where the bytes lie just now, such as a path or uri; enters no key."""
    commits: Mapping[str, Commit] = field(default_factory=dict)
    """Finished stages by name."""
    ended: Ended | None = None
    """Set when the item goes no further."""

    def after(self, commit: Commit) -> "Item":
        """Return the item with one more finished stage; a commit that is not ok ends it."""
        outcome = Outcome(commit.outcome)
        ended = self.ended
        if outcome is not Outcome.OK:
            detail = str(commit.info.get("detail", ""))
            ended = Ended(commit.stage, outcome, commit.reason, detail)
        return replace(self, commits={**self.commits, commit.stage: commit}, ended=ended)


def cancelled(item: Item, stage: str = "run") -> Item:
    """Return an item that was not begun, or not taken further, because the run is to stop."""
    detail = "the run was cancelled; the same command goes on"
    return replace(item, ended=Ended(stage, Outcome.CRASHED, CANCELLED, detail))


@dataclass(frozen=True)
class Work:
    """What a stage gets for one item."""

    item: Item
    ledger: Ledger
    """For earlier outputs: `ledger.fetch(item.commits[stage].output(name), folder)`."""
    folder: Path
    """Empty scratch folder of this item alone, removed afterwards."""
    report: Callable[[int, int], None]
    """Call as report(done, total), as often as is handy, with frames or steps of this item."""
    should_stop: ShouldStop = never
    """Says so once the run is cancelled. Stages whose work takes hours look, and raise
    InterruptedStageError; that of others is finished."""


@dataclass(frozen=True)
class Result:
    """What a stage gives back for one item."""

    outcome: Outcome
    reason: str = ""
    detail: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Rows by kind, such as frame outcomes; summed up in reports."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Outputs by name; the runner moves them into the store. Usually below `Work.folder`."""
    info: Mapping[str, JSON] = field(default_factory=dict)
    """Small facts that later stages and reports read; JSON values only."""


class Stage(ABC):
    """One step of a job. Subclasses set the class variables and take a frozen dataclass."""

    name: ClassVar[str]
    version: ClassVar[int]
    """Raised whenever the same inputs give other bytes."""
    resources: Resources = Resources()
    """A class variable, or set in __init__ where it follows from the config."""
    batch_size: int = 1
    """Most items in one call of process()."""
    patience_s: float = 1800
    """A worker without a report for so long counts as hung and is replaced, where runners can."""
    needs: tuple[str, ...] = ()
    """Earlier stages whose outputs this one reads: their keys enter its key."""
    unit: ClassVar[str] = "frames"
    """What `Work.report` counts."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions (names as pip knows them) whose versions are written into each commit."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def identity(self) -> JSON:
        """Config and weight digests: all that changes the bytes. Cheap; loads no weights."""

    def setup(self) -> None:  # noqa: B027  a stage with nothing to load leaves it out
        """Load weights and the like; once per worker, only when there is something to compute."""

    @abstractmethod
    def process(self, batch: Sequence[Work]) -> list[Result]:
        """Compute one result for each work, in order. Bad input is a result, not an exception."""

    def close(self) -> None:  # noqa: B027  a stage with nothing to give back leaves it out
        """Give back what setup() took."""

    @cached_property
    def signature(self) -> dict[str, JSON]:
        """The part of the stage's keys that is the same for all items."""
        return {"stage": self.name, "version": self.version, "config": self.identity()}


@dataclass(frozen=True)
class StageSpec:
    """A stage that is not built yet: small and picklable, it travels to the workers."""

    stage_class: type[Stage]
    config: Any

    def build(self) -> Stage:
        """Build the stage; cheap, loads nothing."""
        return self.stage_class(self.config)


def stage_key(stage: Stage, item: Item) -> str:
    """Key (sha256) of the stage's result for this item, whose needed stages are all committed."""
    return _key(stage, item, {need: item.commits[need].key for need in stage.needs})


def chain_keys(stages: Sequence[Stage], item: Item) -> dict[str, str]:
    """Keys of all stages of a chain for this item, by stage name, before anything has run.

    A stage may also need one that is not in the chain but committed on the item already.
    Raises ValueError where a needed stage is neither.
    """
    keys = {name: commit.key for name, commit in item.commits.items()}
    for stage in stages:
        missing = [need for need in stage.needs if need not in keys]
        if missing:
            raise ValueError(f"stage {stage.name} needs {missing[0]}, which is not before it")
        keys[stage.name] = _key(stage, item, {need: keys[need] for need in stage.needs})
    return {stage.name: keys[stage.name] for stage in stages}


def _key(stage: Stage, item: Item, parents: dict[str, str]) -> str:
    return digest({**stage.signature, "inputs": dict(item.inputs), "parents": dict(parents)})
