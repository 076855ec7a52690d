"""What every runner does: all items through all stages, the same items out as in."""

from collections.abc import Sequence
from typing import Protocol

from pipeline.execute import OnEvent, resolve
from pipeline.stage import Item, ShouldStop, Stage, StageSpec, never
from storage.ledger import Ledger
from storage.store import open_store


class Runner(Protocol):
    """Runs a chain of stages over items."""

    def run(
        self,
        stages: Sequence[StageSpec],
        items: Sequence[Item],
        *,
        store_url: str,
        run_id: str,
        on_event: OnEvent,
        should_stop: ShouldStop = never,
    ) -> list[Item]:
        """Take every item through the stages until it is through or has ended; order is kept.

        What the ledger holds already is reused. `on_event` is called in the caller's thread, and so
        is `should_stop`: once it says so, what is in work is finished and committed (a training is
        interrupted, after a checkpoint), and all others come out `cancelled`.
        Raises StoreError for trouble with the store, ConfigurationError for stages that do not fit
        the machine, RunError for a cluster that fails, and whatever a stage's setup() raises.
        """


class RunError(Exception):
    """The workers cannot go on: one sentence for the operator."""


def begin_run(
    stages: Sequence[StageSpec], items: Sequence[Item], store_url: str, on_event: OnEvent
) -> tuple[list[Stage], list[Item], list[Item]]:
    """Return (built stages, finished items, items to compute) after a look into the ledger."""
    built = [spec.build() for spec in stages]
    _check_unique([stage.name for stage in built], "stage")
    _check_unique([item.id for item in items], "item id")
    done, pending = resolve(Ledger(open_store(store_url)), built, items, on_event)
    return built, done, pending


def end_run(items: Sequence[Item], stages: Sequence[Stage], out: Sequence[Item]) -> list[Item]:
    """Items that came out, in the order in which they went in. Counts in = counts out."""
    by_id = {item.id: item for item in out}
    if len(out) != len(items) or by_id.keys() != {item.id for item in items}:
        raise RunError(f"{len(items)} items went in and {len(out)} came out: this is a bug")
    for item in out:
        if not item.ended and any(stage.name not in item.commits for stage in stages):
            raise RunError(f"item {item.id!r} came out unfinished: this is a bug")
    return [by_id[item.id] for item in items]


def _check_unique(names: Sequence[str], what: str) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{what} {twice!r} is there more than once")
