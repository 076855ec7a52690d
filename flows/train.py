"""The flow `train`: a dataset and a recipe in, a trained run out."""

import uuid
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import artifacts
from flows.watched import NO_RAY, drained, run_stages
from pipeline import dataset as datasets
from pipeline.errors import ConfigurationError
from pipeline.recipes import TrainRecipe, train_recipe
from pipeline.reports.training import last_metrics, training_report
from pipeline.runners.one_connection import one_connection
from pipeline.stage import Item, StageSpec
from pipeline.stages.training_workers import check_room
from pipeline.training.job import begin_training
from pipeline.training.runs import TrainedRun
from storage.ledger import Ledger
from storage.store import open_store


@flow(name="train", flow_run_name="train {run}", persist_result=False)
def train_network(
    store: str,
    dataset: str,
    recipe: str,
    run: str,
    steps: int | None = None,
    ray_address: str | None = None,
    gpus: float = 0,
    workers: int = 1,
    start: str | None = None,
) -> dict[str, Any]:
    """Train a network on the newest version of a dataset; a killed run goes on where it was.

    `steps` replaces the recipe's number of generator steps; `workers` share each of these steps,
    with `gpus` for every one of them; `start` names a run with whose weights to begin. Returns a
    summary: run, keys, outcome, last values of all metrics.
    """
    ledger = Ledger(open_store(store))
    chosen = train_recipe(recipe).with_gpus(gpus).with_workers(workers)
    if start is not None:
        chosen = chosen.from_weights()
    if steps is not None:
        chosen = chosen.with_steps(steps)
    if workers > 1 and ray_address == NO_RAY:
        raise ConfigurationError(f"{workers} workers need Ray: leave out --ray none, or --workers")
    version = datasets.load(ledger, dataset)
    run_id, computed = uuid.uuid4().hex, 0
    with one_connection():
        if workers > 1:
            check_room(chosen.stages()[-1], ray_address)
        published, item = begin_training(ledger, run, chosen, dataset, version, start)
        for chain in _chains(chosen):
            had = len(item.commits)
            done = run_stages(
                f"train {run}",
                chain,
                [item],
                store=store,
                run_id=run_id,
                ray_address=ray_address,
            )
            (item,), computed = done.items, computed + done.computed - had
    result = finish(store, published, item, computed=computed)
    return drained(f"run {run}") if done.is_cancelled else result


def _chains(recipe: TrainRecipe) -> list[list[StageSpec]]:
    """Return the stages in what runs together: the process of one would take the workers' place."""
    stages = recipe.stages()
    return [stages] if recipe.export3d.workers == 1 else [[stage] for stage in stages]


@task(name="report", cache_policy=NO_CACHE, persist_result=False)
def finish(store: str, run: TrainedRun, item: Item, *, computed: int) -> dict[str, Any]:
    """Show what became of the run, and return it."""
    ledger = Ledger(open_store(store))
    report = training_report(ledger, run, item)
    artifacts.create_report(f"{run.name}-report", report.markdown(), f"Report of run {run.name}")
    ledger.store.put(f"reports/runs/{run.name}.html", report.html().encode())
    ended = item.ended
    return {
        "run": run.name,
        "recipe": run.recipe,
        "dataset": run.dataset,
        "keys": run.keys,
        "computed": computed,
        "outcome": str(ended.outcome) if ended else "ok",
        "reason": ended.reason if ended else "",
        "detail": ended.detail if ended else "",
        "metrics": last_metrics(ledger, run),
    }
