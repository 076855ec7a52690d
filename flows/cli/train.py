"""`e3d train`: a network from a dataset."""

from typing import Annotated, Any

import typer

from flows.cli.exit_code import ExitCode
from flows.cli.session import AsJson, Ray, SingleWriter, Store, operating, show


def train(
    store: Store,
    dataset: Annotated[str, typer.Option(help="A dataset that e3d preprocess made.")],
    recipe: Annotated[str, typer.Option(help="See e3d describe.")],
    run: Annotated[str, typer.Option(help="Name of the run, for e3d render and e3d status.")],
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="RUN", help="A complete run with whose weights to begin."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of the generator; default: the recipe's.")
    ] = None,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs to train on, of each worker.")] = 0,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that share each step of the generator.")
    ] = 1,
    ray: Ray = None,
    single_writer: SingleWriter = False,
    as_json: AsJson = False,
) -> None:
    """Pre-train the expression encoder, then train the generator in its two phases.

    A run that was stopped or killed goes on from its newest checkpoint; one that is complete
    computes nothing.
    """
    with operating(store, single_writer=single_writer):
        from flows.train import train_network

        result = train_network(
            store=store,
            dataset=dataset,
            recipe=recipe,
            run=run,
            steps=steps,
            ray_address=ray,
            gpus=gpus,
            workers=workers,
            start=start,
        )
    show(result, _text(result), as_json=as_json)
    if result["outcome"] != "ok":
        raise typer.Exit(ExitCode.FAILURES)


def _text(result: dict[str, Any]) -> str:
    if result["outcome"] != "ok":
        return f"run {result['run']}: {result['outcome']}, {result['reason']}: {result['detail']}"
    work = "" if result["computed"] else "; nothing to compute: the run was complete already"
    lines = [f"  {name:<32} {value:.4g}" for name, value in result["metrics"].items()]
    return "\n".join([f"run {result['run']} is complete{work}", *lines])
