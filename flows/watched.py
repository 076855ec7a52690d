"""Running stages under Prefect: one task that drives Ray, with bars in terminal and UI."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.states import Cancelled

from flows.artifacts import ProgressArtifact
from flows.cancellation import cancellation
from pipeline.events import Event
from pipeline.progress import RichProgress
from pipeline.runners.contract import Runner
from pipeline.runners.local import LocalRunner
from pipeline.runners.ray_runner import RayRunner
from pipeline.stage import Item, StageSpec

NO_RAY = "none"


@dataclass(frozen=True)
class StagesRun:
    """What a run of stages gave: the items, and how many results were computed or found."""

    items: list[Item]
    computed: int
    reused: int
    is_cancelled: bool = False
    """Somebody has cancelled the run: what was in work is done, the rest is left."""


def drained(what: str) -> Any:
    """Return what a flow returns where it was cancelled: a state, which reaches no caller.

    Prefect raises CancelledRun there instead.
    """
    return Cancelled(message=f"{what} was cancelled; what was done is kept, run it again to go on")


def runner_at(ray_address: str | None) -> Runner:
    """Return the runner for an address: None embeds a Ray, "none" is a plain loop without one."""
    return LocalRunner() if ray_address == NO_RAY else RayRunner(ray_address)


@task(name="stages", task_run_name="{title}", cache_policy=NO_CACHE, persist_result=False)
def run_stages(
    title: str,
    stages: Sequence[StageSpec],
    items: Sequence[Item],
    *,
    store: str,
    run_id: str,
    ray_address: str | None,
) -> StagesRun:
    """Take items through stages; progress goes to stderr and to the run's page."""
    names = [spec.stage_class.name for spec in stages]
    shown = ProgressArtifact(f"{title}-progress", f"{title}: {', '.join(names)}")
    with RichProgress(names, len(items)) as bars:

        def observe(event: Event) -> None:
            bars.observe(event)
            shown.update(bars.tracker.fraction, f"{title}: {_describe(bars)}")

        with cancellation() as asked:
            done = runner_at(ray_address).run(
                stages,
                items,
                store_url=store,
                run_id=run_id,
                on_event=observe,
                should_stop=asked.is_set,
            )
    shown.update(1.0, f"{title}: {_describe(bars)}")
    reused = sum(row.reused for row in bars.tracker.rows())
    computed = sum(len(item.commits) for item in done) - reused
    return StagesRun(done, computed, reused, asked.is_set())


def _describe(bars: RichProgress) -> str:
    rows = bars.tracker.rows()
    return "; ".join(f"{row.stage} {row.done:.3g}/{row.items}" for row in rows)
