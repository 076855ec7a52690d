"""The flow `train`: a dataset and a recipe in, a trained run out."""

import uuid
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import artifacts
from flows.watched import run_stages
from pipeline import dataset as datasets
from pipeline.recipes import train_recipe
from pipeline.reports.training import last_metrics, training_report
from pipeline.stage import Item
from pipeline.train_job import begin_training
from pipeline.trained import TrainedRun
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
) -> dict[str, Any]:
    """Train a network on the newest version of a dataset; a killed run goes on where it was.

    `steps` replaces the recipe's number of generator steps. Returns a summary: run, keys, outcome,
    last values of all metrics.
    """
    ledger = Ledger(open_store(store))
    chosen = train_recipe(recipe).with_gpus(gpus)
    if steps is not None:
        chosen = chosen.with_steps(steps)
    version = datasets.load(ledger, dataset)
    published, item = begin_training(ledger, run, chosen, dataset, version)
    done = run_stages(
        f"train {run}",
        chosen.stages(),
        [item],
        store=store,
        run_id=uuid.uuid4().hex,
        ray_address=ray_address,
    )
    return finish(store, published, done.items[0], computed=done.computed)


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
