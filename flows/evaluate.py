"""The flow `evaluate`: a trained run and a dataset in, numbers and pictures of it out."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import artifacts
from flows.watched import run_stages
from pipeline.evaluation.job import EvaluationPlan, plan_evaluation, publish_evaluation
from pipeline.reports.evaluation import (
    TITLES,
    evaluation_report,
    metric_rows,
    read_summary,
    seen_said,
    weights_said,
)
from pipeline.runners.one_connection import one_connection
from pipeline.stage import Item
from pipeline.stages.evaluation import Evaluation
from storage.ledger import Ledger
from storage.store import open_store


@flow(name="evaluate", flow_run_name="evaluate {run}", persist_result=False)
def evaluate_run(
    store: str,
    run: str,
    dataset: str | None = None,
    frames: int | None = None,
    like: str | None = None,
    ray_address: str | None = None,
    gpus: float = 0,
) -> dict[str, Any]:
    """Judge the newest weights of a run; what has been computed is not computed again.

    Without a dataset it is judged on frames of its own that it has not trained on. `frames` is the
    most driving frames of a clip; `like` names a run on whose very pairs it is judged. Returns a
    summary: run, dataset, keys, outcome, and a row for each protocol and metric.
    """
    ledger = Ledger(open_store(store))
    plan = plan_evaluation(ledger, run, dataset, frames=frames, like=like, gpus=gpus)
    run_id = uuid.uuid4().hex
    items: dict[str, Item] = {}
    computed = 0
    with one_connection():
        for spec, item in plan.stages:
            name = spec.stage_class.name
            done = run_stages(
                f"{run} {name}",
                [spec],
                [item],
                store=store,
                run_id=run_id,
                ray_address=ray_address,
            )
            items[name] = done.items[0]
            computed += done.computed
    return finish(store, plan, items, computed=computed)


@task(name="report", cache_policy=NO_CACHE, persist_result=False)
def finish(
    store: str, plan: EvaluationPlan, items: Mapping[str, Item], *, computed: int
) -> dict[str, Any]:
    """Show what was found, and return it."""
    ledger = Ledger(open_store(store))
    report = evaluation_report(ledger, plan, items)
    name = f"{plan.run.name}-{plan.dataset_name}"
    artifacts.create_report(f"{name}-evaluation", report.markdown(), report.title)
    ledger.store.put(plan.report_key, report.html().encode())
    measured = items[Evaluation.name]
    ended = next((item.ended for item in items.values() if item.ended), None)
    result = {
        "run": plan.run.name,
        "dataset": plan.dataset_name,
        "weights": {"stage": plan.weights.stage, "key": plan.weights.key},
        "judged": weights_said(plan.weights),
        "keys": {
            name: commit.key for item in items.values() for name, commit in item.commits.items()
        },
        "computed": computed,
        "outcome": str(ended.outcome) if ended else "ok",
        "stage": ended.stage if ended else "",
        "reason": ended.reason if ended else "",
        "detail": ended.detail if ended else "",
        "report": ledger.store.uri(plan.report_key),
    }
    if measured.ended:
        return result
    commit = measured.commits[Evaluation.name]
    publish_evaluation(ledger, plan, commit)
    summary = read_summary(ledger, commit)
    metrics = [
        {"protocol": protocol, **asdict(row), "metric": row.metric.name}
        for protocol in TITLES
        for row in metric_rows(summary, protocol)
    ]
    counts = {name: summary[name] for name in ("clips", "clips_without_pair", "persons")}
    return {**result, **counts, "seen": seen_said(summary), "metrics": metrics}
