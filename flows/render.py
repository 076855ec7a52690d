"""The flow `render`: a job of shots in, delivered films out."""

import uuid
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import artifacts
from flows.watched import drained, run_stages
from pipeline.clock import now
from pipeline.errors import ConfigurationError, usable_name
from pipeline.home import e3d_home
from pipeline.provenance.certificates import signing_identity
from pipeline.provenance.mark_key import mark_key
from pipeline.recipes import preprocess_recipe
from pipeline.rendering.delivery import JOBS, deliver, delivery_place
from pipeline.rendering.job import Job
from pipeline.rendering.job_file import parse_job
from pipeline.rendering.plan import RenderPlan, plan_render
from pipeline.rendering.shots import in_order, longest_first, shot_items, shot_stages
from pipeline.reports.rendering import render_report, said_of
from pipeline.runners.one_connection import one_connection
from pipeline.stage import Item, StageSpec, cancelled
from pipeline.stages.rendering import RenderConfig
from storage.ledger import Commit, Ledger
from storage.store import open_store

_SHOWN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "shot": itemgetter("shot_id"),
    "outcome": itemgetter("outcome"),
    "why": said_of,
    "frames": itemgetter("frames_total"),
    "rendered": itemgetter("frames_rendered"),
    "kept": itemgetter("frames_kept"),
    "failed": itemgetter("frames_failed"),
    "seconds": itemgetter("seconds"),
    "file": itemgetter("uri"),
}
"""Columns of the table on the run's page; the report has pictures, the store's table the rest."""


@flow(name="render", flow_run_name="render {job[job]}", persist_result=False)
def render_film(
    job: dict[str, Any], store: str, ray_address: str | None = None, gpus: float = 0
) -> dict[str, Any]:
    """Render a job, as `pipeline.rendering.job_file.Job` describes it.

    What is rendered already is reused. Returns a summary: a row for each shot, and where the
    report is.
    """
    return _render(parse_job(job), Ledger(open_store(store)), ray_address, gpus)


@flow(name="retry", flow_run_name="retry {job}", persist_result=False)
def retry_job(
    job: str, store: str, ray_address: str | None = None, gpus: float = 0
) -> dict[str, Any]:
    """Do what is not ok of a job once more, with the weights it was rendered with; see render_film.

    What is ok is found by its keys, and neither rendered nor delivered again.
    """
    ledger = Ledger(open_store(store))
    made: Any = ledger.latest(JOBS, usable_name(job, "job"))
    if made is None:
        known = ", ".join(ledger.names(JOBS)) or "none yet"
        raise ConfigurationError(f"there is no job {job!r} in {store}; there is: {known}")
    weights = ledger.expect(made["weights"]["stage"], made["weights"]["key"])
    return _render(parse_job(made["job"]), ledger, ray_address, gpus, weights)


def _render(
    wanted: Job,
    ledger: Ledger,
    ray_address: str | None,
    gpus: float,
    weights: Commit | None = None,
) -> dict[str, Any]:
    store = ledger.store.url
    # A wrong certificate, or a place that cannot be reached, must not wait for the last frame.
    signing_identity(e3d_home())
    place = delivery_place(ledger, wanted)
    place.store.list(place.folder)
    plan = plan_render(ledger, wanted, preprocess_recipe(wanted.recipe), now(), weights)
    config = RenderConfig(
        visible_mark=wanted.visible_mark,
        mark_key=mark_key(e3d_home()).name if wanted.invisible_mark else None,
        seed=wanted.seed,
        gpus=gpus,
    )
    run_id = uuid.uuid4().hex
    is_cancelled = False

    def run(what: str, stages: Sequence[StageSpec], items: Sequence[Item]) -> list[Item]:
        nonlocal is_cancelled
        if not items or is_cancelled:
            return [item if item.ended else cancelled(item) for item in items]
        title = f"{wanted.job} {what}"
        done = run_stages(title, stages, items, store=store, run_id=run_id, ray_address=ray_address)
        is_cancelled = done.is_cancelled
        return done.items

    with one_connection():
        seen = [
            item
            for what, (stages, items) in plan.preparations().items()
            for item in run(what, stages, items)
        ]
        shots = shot_items(ledger, plan, seen)
        done = [
            item
            for mode, stage in shot_stages(config).items()
            for item in run(f"{mode} shots", [stage], longest_first(shots[mode]))
        ]
    result = finish(store, plan, in_order(plan, done), config)
    return drained(f"job {wanted.job}") if is_cancelled else result


@task(name="deliver", cache_policy=NO_CACHE, persist_result=False)
def finish(store: str, plan: RenderPlan, items: list[Item], config: RenderConfig) -> dict[str, Any]:
    """Sign and deliver what was rendered, show what became of every shot, and return it."""
    ledger = Ledger(open_store(store))
    name = plan.job.job
    bar = artifacts.ProgressArtifact(f"{name}-delivery", f"{name}: sign and deliver")

    def report(done: int, total: int) -> None:
        bar.update(done / total, f"{name}: {done} of {total} shots delivered")

    rows = deliver(ledger, plan, items, config, signing_identity(e3d_home()), now(), report).rows
    page = render_report(ledger, plan, rows)
    place = delivery_place(ledger, plan.job)
    place.store.put(place.key("report.html"), page.html().encode())
    for row in rows:
        row["uri"] = place.store.uri(row["key"]) if row["key"] else ""
    shown = [{column: show(row) for column, show in _SHOWN.items()} for row in rows]
    artifacts.create_outcome_table(f"{name}-shots", shown, f"Shots of job {name}")
    artifacts.create_report(f"{name}-report", page.markdown(), f"Report of job {name}")
    return {"job": name, "shots": rows, "report": place.uri("report.html")}
