"""`e3d evaluate`: a trained run measured as the paper measures."""

from typing import Annotated, Any

import typer

from flows.cli.exit_code import ExitCode
from flows.cli.session import AsJson, Ray, SingleWriter, Store, operating, show


def evaluate(
    store: Store,
    run: Annotated[str, typer.Option(help="A run of e3d train; its newest weights are judged.")],
    dataset: Annotated[
        str | None, typer.Option(help="What to judge it on; default: what it was trained on.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Driving frames of a clip, at most; default: 24.")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Judge on the very pairs that this run was judged on."),
    ] = None,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs to render on.")] = 0,
    ray: Ray = None,
    single_writer: SingleWriter = False,
    as_json: AsJson = False,
) -> None:
    """Measure a run: same identity, cross identity, its expression encoder, edits and views.

    Of the run's own dataset, frames held out of training drive. What has been measured is not
    measured again. The page goes to reports/evaluations/RUN-DATASET.html in the store.
    """
    with operating(store, single_writer=single_writer):
        from flows.evaluate import evaluate_run

        result = evaluate_run(
            store=store,
            run=run,
            dataset=dataset,
            frames=frames,
            like=like,
            ray_address=ray,
            gpus=gpus,
        )
    show(result, _text(result), as_json=as_json)
    if result["outcome"] != "ok":
        raise typer.Exit(ExitCode.FAILURES)


def _text(result: dict[str, Any]) -> str:
    lines = [f"run {result['run']} on dataset {result['dataset']}. {result['judged']}"]
    if "metrics" in result:
        lines += [f"{result['seen']}.", *_tables(result["metrics"])]
        lines.append(
            "The paper's numbers are of other films, networks, detectors and sizes: not comparable."
        )
    if not result["computed"]:
        lines.append("nothing to compute: all of it was measured already")
    if result["outcome"] != "ok":
        lines.append(f"{result['stage']}: {result['outcome']}, {result['detail']}")
    return "\n".join([*lines, f"report -> {result['report']}"])


def _tables(metrics: list[dict[str, Any]]) -> list[str]:
    heads = ("generated", "copy", "film", "paper", "failed")
    lines = []
    protocol = ""
    for row in metrics:
        if row["protocol"] != protocol:
            protocol = row["protocol"]
            lines.append(f"{protocol + ' identity':<16}" + "".join(f"{head:>11}" for head in heads))
        cells = (row["generated"], row["copy"], row["driver"], row["paper_vfhq"])
        numbers = "".join(f"{'' if cell is None else f'{cell:.4g}':>11}" for cell in cells)
        lines.append(f"  {row['metric']:<14}{numbers}{row['failed']:>11}")
    return lines
