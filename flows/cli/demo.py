"""`e3d demo`: films in, a delivered dub out, in one command."""

import time
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.exit_code import ExitCode
from flows.cli.session import AsJson, Ray, operating, show

_PLAN = """\
This demo runs the whole pipeline once, on this machine, in about 10 minutes on two cores:
  1. fetch two real clips, a portrait and the networks for landmarks and perception ({assets})
  2. pre-process the clips: 25 fps, landmarks, nose-centred crops, 3DMM, cameras -> a dataset
  3. pre-train the expression encoder (CLeBS), train a small Export3D for some minutes
  4. render a dub (the man's film with the woman's expressions) and move a portrait
  5. write films with sound and a report below {store}
The clips and the portrait are for trying out; their licences: e3d assets list.
"""


def demo(
    store: Annotated[
        str, typer.Option(help="Where everything goes: a folder, or s3://bucket/prefix.")
    ] = "demo-out",
    recipe: Annotated[str, typer.Option(help="The network to train.")] = "export3d_demo",
    steps: Annotated[
        int | None, typer.Option(min=2, help="Steps of the generator; default: the recipe's.")
    ] = None,
    ray: Ray = None,
    as_json: AsJson = False,
) -> None:
    """Make a dubbed film from two real clips: the whole pipeline, by its real parts."""
    from pipeline.demo import CLIPS, HONEST, WEIGHTS
    from storage import assets

    start_s = time.monotonic()
    names = ", ".join((*CLIPS.values(), *WEIGHTS))
    typer.echo(_PLAN.format(assets=names, store=_place(store)), err=True)
    fetched = {name: assets.fetch(name, _tell) for name in (*CLIPS.values(), *WEIGHTS)}
    clips = {role: str(fetched[name]) for role, name in CLIPS.items()}
    with operating(_place(store), single_writer=False):
        from flows.demo import run_demo

        result = run_demo(_place(store), clips, recipe, steps, ray)
    files = [shot["uri"] for shot in result["render"]["shots"] if shot["uri"]]
    lines = [
        f"Done in {(time.monotonic() - start_s) / 60:.1f} minutes. It made:",
        *(f"  {file}" for file in files),
        f"  {result['report']}   <- open this page in a browser",
        f"  everything else (dataset, checkpoints, ledger): {_place(store)}",
        "",
        HONEST,
        "All runs in the browser: e3d ui",
    ]
    show(result, "\n".join(lines), as_json=as_json)
    if any(shot["outcome"] != "ok" for shot in result["render"]["shots"]):
        raise typer.Exit(ExitCode.FAILURES)


def _place(store: str) -> str:
    return store if "://" in store else str(Path(store).absolute())


def _tell(sentence: str) -> None:
    typer.echo(f"  {sentence}", err=True)
