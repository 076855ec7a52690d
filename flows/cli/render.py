"""`e3d render` and `e3d retry`: a job of shots to delivered films."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.exit_code import ExitCode
from flows.cli.session import AsJson, Ray, SingleWriter, Store, operating, show

Gpus = Annotated[float, typer.Option(min=0, help="GPUs of each worker.")]
MaxFailures = Annotated[
    int, typer.Option(min=0, help="More shots that are not ok end with exit code 3.")
]


def render(
    job: Annotated[Path, typer.Argument(help="The job file (YAML); see docs/render.md.")],
    store: Store,
    gpus: Gpus = 0,
    ray: Ray = None,
    max_failures: MaxFailures = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done; computes nothing.")
    ] = False,
    single_writer: SingleWriter = False,
    as_json: AsJson = False,
) -> None:
    """Render the shots of a job, sign them, and deliver them to deliver/JOB/ in the store.

    Shots that are rendered already are not rendered again.
    """
    from pipeline.rendering.job_file import read_job

    wanted = read_job(job)
    if dry_run:
        _foretell(wanted, store, as_json=as_json)
        return
    with operating(store, single_writer=single_writer):
        from flows.render import render_film

        result = render_film(
            job=wanted.model_dump(mode="json"), store=store, ray_address=ray, gpus=gpus
        )
    _end(result, max_failures, as_json=as_json)


def retry(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Name of a job that has been run.")],
    store: Store,
    gpus: Gpus = 0,
    ray: Ray = None,
    max_failures: MaxFailures = 0,
    single_writer: SingleWriter = False,
    as_json: AsJson = False,
) -> None:
    """Do what is not ok of a job once more, with the weights that the job was rendered with.

    Crashes, files that could not be read and consents are tried again; a shot that fails for what
    its films show needs another job file.
    """
    with operating(store, single_writer=single_writer):
        from flows.render import retry_job

        result = retry_job(job=job, store=store, ray_address=ray, gpus=gpus)
    _end(result, max_failures, as_json=as_json)


def _end(result: Mapping[str, Any], max_failures: int, *, as_json: bool) -> None:
    show(result, _text(result), as_json=as_json)
    if sum(shot["outcome"] != "ok" for shot in result["shots"]) > max_failures:
        raise typer.Exit(ExitCode.FAILURES)


def _text(result: Mapping[str, Any]) -> str:
    from pipeline.reports.rendering import said_of

    lines = [
        f"{shot['outcome']:<9} {shot['shot_id']}: {shot['frames_rendered']} of "
        f"{shot['frames_total']} frames rendered"
        + (f" -> {shot['uri']}" if shot["uri"] else "")
        + (f", {said}" if (said := said_of(shot)) else "")
        for shot in result["shots"]
    ]
    return "\n".join([*lines, f"report -> {result['report']}"])


def _foretell(job: Any, store: str, *, as_json: bool) -> None:
    from pipeline.rendering.forecast import forecast
    from storage.ledger import Ledger
    from storage.store import open_store

    told = forecast(Ledger(open_store(store)), job)
    lines = [f"{shot['state']:<9} {shot['shot_id']}: {shot['why']}" for shot in told["shots"]]
    lines.append(
        f"{told['films_to_prepare']} of {told['films']} films and pictures have to be pre-processed"
    )
    show(told, "\n".join(lines), as_json=as_json)
