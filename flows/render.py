"""The flow `render`: a job of shots in, delivered films out."""

import uuid
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import artifacts
from flows.watched import run_stages
from pipeline.recipes import preprocess_recipe
from pipeline.rendering.job import (
    RenderPlan,
    deliver,
    delivery_folder,
    plan_render,
    shot_items,
    shot_stages,
)
from pipeline.rendering.job_file import parse_job
from pipeline.reports.rendering import render_report
from pipeline.runners.one_connection import one_connection
from pipeline.stage import Item
from pipeline.stages.rendering import RenderConfig
from storage.ledger import Ledger
from storage.store import open_store


@flow(name="render", persist_result=False)
def render_film(
    job: dict[str, Any], store: str, ray_address: str | None = None, gpus: float = 0
) -> dict[str, Any]:
    """Render a job, as `pipeline.rendering.job_file.Job` describes it.

    What is rendered already is reused. Returns a summary: a row for each shot, and where the
    report is.
    """
    wanted = parse_job(job)
    ledger = Ledger(open_store(store))
    recipe = preprocess_recipe(wanted.recipe)
    plan = plan_render(ledger, wanted, recipe)
    run_id = uuid.uuid4().hex
    with one_connection():
        films = run_stages(
            f"{wanted.job} films",
            recipe.stages(),
            plan.films(),
            store=store,
            run_id=run_id,
            ray_address=ray_address,
        )
        config = RenderConfig(visible_mark=wanted.visible_mark, seed=wanted.seed, gpus=gpus)
        shots: list[Item] = []
        for mode, spec in shot_stages(config).items():
            items = shot_items(plan, films.items, mode)
            if items:
                done = run_stages(
                    f"{wanted.job} {mode} shots",
                    [spec],
                    items,
                    store=store,
                    run_id=run_id,
                    ray_address=ray_address,
                )
                shots += done.items
    return finish(store, plan, shots)


@task(name="deliver", cache_policy=NO_CACHE, persist_result=False)
def finish(store: str, plan: RenderPlan, shots: list[Item]) -> dict[str, Any]:
    """Deliver what was rendered, show what became of every shot, and return it."""
    ledger = Ledger(open_store(store))
    rows = deliver(ledger, plan, shots)
    report = render_report(ledger, plan, rows)
    name, key = plan.job.job, f"{delivery_folder(plan.job)}/report.html"
    ledger.store.put(key, report.html().encode())
    artifacts.create_outcome_table(f"{name}-shots", rows, f"Shots of job {name}")
    artifacts.create_report(f"{name}-report", report.markdown(), f"Report of job {name}")
    for row in rows:
        row["uri"] = ledger.store.uri(row["key"]) if row["key"] else ""
    return {"job": name, "shots": rows, "report": ledger.store.uri(key)}
