"""A training that several workers share, started by the stage and joined by Ray Train."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial

from pipeline.runners.contract import RunError
from pipeline.scratch import Scratch
from pipeline.stage import (
    Item,
    Outcome,
    Resources,
    Result,
    ShouldStop,
    Stage,
    StageSpec,
    Work,
    stage_key,
)
from pipeline.stages.training import Reached, reached_before, run_training
from storage.ledger import Ledger
from storage.store import open_store


class SharedTraining(Stage):
    """A stage whose training can be shared by several workers.

    The first of them leads: it alone writes checkpoints, from which the stage takes the result.
    """

    workers: int
    each: Resources
    """What every worker needs."""

    @abstractmethod
    def take_part(self, work: Work, *, leads: bool) -> Reached:
        """Do one worker's part, in a process that has been joined to the others by torch."""


def check_room(spec: StageSpec, ray_address: str | None) -> None:
    """Raise ConfigurationError where the machines at that address cannot take the workers at all.

    Their connection lasts as `one_connection` says.
    """
    from pipeline.runners.embedded import connected, nodes  # noqa: PLC0415  they import Ray
    from pipeline.runners.together import share_out  # noqa: PLC0415

    stage = _shared(spec)
    with connected(ray_address):
        share_out(nodes(), stage.workers, stage.each)


def train_on_workers(stage: SharedTraining, work: Work, groups: Sequence[str]) -> Result:
    """Train in `stage.workers` processes on the connected Ray; a worker that dies ends the run."""
    from pipeline.runners.together import run_together  # noqa: PLC0415  it imports Ray

    spec = StageSpec(type(stage), stage.config)

    def reach() -> Reached:
        run_together(
            partial(_part, spec, work.ledger.store.url, work.item),
            workers=stage.workers,
            each=stage.each,
            folder=work.folder,
            report=work.report,
            patience_s=stage.patience_s,
            should_stop=work.should_stop,
        )
        reached = reached_before(work, stage_key(stage, work.item))
        if reached is None:
            raise RunError("the workers ended without a checkpoint: this is a bug")
        return reached

    try:
        return run_training(work, groups, reach)
    except RunError as error:
        detail = f"{error}; the same command goes on from the newest checkpoint"
        return Result(Outcome.CRASHED, "workers_failed", detail)


def _part(
    spec: StageSpec,
    store_url: str,
    item: Item,
    rank: int,
    report: Callable[[int, int], None],
    should_stop: ShouldStop,
) -> None:
    stage = _shared(spec)
    stage.setup()
    ledger = Ledger(open_store(store_url))
    try:
        with closing(Scratch()) as scratch, scratch.item_folder() as folder:
            stage.take_part(Work(item, ledger, folder, report, should_stop), leads=rank == 0)
    finally:
        stage.close()


def _shared(spec: StageSpec) -> SharedTraining:
    stage = spec.build()
    if not isinstance(stage, SharedTraining):
        raise TypeError(f"stage {stage.name} cannot be shared by workers")
    return stage
