"""`e3d render`: a job of shots to delivered films."""

from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.exit_code import ExitCode
from flows.cli.session import AsJson, Ray, SingleWriter, Store, operating, show, why


def render(
    job: Annotated[Path, typer.Argument(help="The job file (YAML); see docs/render.md.")],
    store: Store,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of each worker.")] = 0,
    ray: Ray = None,
    max_failures: Annotated[
        int, typer.Option(min=0, help="More shots that are not ok end with exit code 3.")
    ] = 0,
    single_writer: SingleWriter = False,
    as_json: AsJson = False,
) -> None:
    """Render the shots of a job and deliver them to deliver/JOB/ in the store.

    Shots that are rendered already are not rendered again.
    """
    from pipeline.rendering.job_file import read_job

    wanted = read_job(job)
    with operating(store, single_writer=single_writer):
        from flows.render import render_film

        result = render_film(
            job=wanted.model_dump(mode="json"), store=store, ray_address=ray, gpus=gpus
        )
    show(result, _text(result), as_json=as_json)
    if sum(shot["outcome"] != "ok" for shot in result["shots"]) > max_failures:
        raise typer.Exit(ExitCode.FAILURES)


def _text(result: dict[str, Any]) -> str:
    lines = [
        f"{shot['outcome']:<9} {shot['shot_id']}: {shot['frames_rendered']} of "
        f"{shot['frames_total']} frames rendered"
        + (f", {why(shot)}" if shot["reason"] else f" -> {shot['uri']}")
        for shot in result["shots"]
    ]
    return "\n".join([*lines, f"report -> {result['report']}"])
