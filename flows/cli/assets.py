"""`e3d assets`: the outside files (weights, face models, demo clips) and their licences."""

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from flows.cli.examples import examples
from flows.cli.exit_code import ExitCode
from pipeline.errors import ConfigurationError
from storage.assets import REGISTRY, Asset, AssetState, fetch, verify

app = typer.Typer(
    help="List, fetch and verify weights, face models and demo clips.",
    epilog=examples("e3d assets list", "e3d assets fetch face_landmarker"),
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Names = Annotated[
    list[str] | None, typer.Argument(help="Names as `e3d assets list` shows them; default: all.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]

_WIDTH_OF_FILES = 200


@app.command("list", epilog=examples("e3d assets list", "e3d assets list --json"))
def list_assets(names: Names = None, as_json: AsJson = False) -> None:
    """Show what every file is for, its licence, and whether it is on this machine."""
    _show([verify(asset.name) for asset in _chosen(names)], as_json)


@app.command(
    "verify", epilog=examples("e3d assets verify", "e3d assets verify face_landmarker --json")
)
def verify_assets(names: Names = None, as_json: AsJson = False) -> None:
    """Compare every present file with its sha256; exit code 2 for damaged, or named but missing."""
    states = [verify(asset.name) for asset in _chosen(names)]
    _show(states if names else [state for state in states if state.status != "missing"], as_json)
    bad = {"damaged", "missing"} if names else {"damaged"}
    if troubles := [state for state in states if state.status in bad]:
        for state in troubles:
            typer.echo(f"e3d: {state.detail}", err=True)
        raise typer.Exit(ExitCode.BAD_USE)


@app.command(
    "fetch",
    epilog=examples("e3d assets fetch", "e3d assets fetch scrfd_500m --accept-licence"),
)
def fetch_assets(
    names: Names = None,
    accept_licence: Annotated[
        bool,
        typer.Option("--accept-licence", help="Take files for non-commercial use alone."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch files that are missing and check them; by default all that are free to fetch.

    Licences are shown. A file for non-commercial use is only fetched by name, with
    --accept-licence.
    """
    chosen = _chosen(names)
    if not names:
        chosen = [asset for asset in chosen if asset.sources and not asset.non_commercial]
    wanted = [asset for asset in chosen if verify(asset.name).status != "present"]
    for asset in wanted:
        typer.echo(f"{asset.name}: {asset.licence}. {asset.licence_note}", err=True)
        if asset.non_commercial and not accept_licence:
            raise ConfigurationError(
                f"{asset.name} is for non-commercial use alone; to take it on the terms above: "
                f"e3d assets fetch {asset.name} --accept-licence"
            )
    for asset in _with_bar(wanted):
        fetch(asset.name, on_progress=lambda said: typer.echo(said, err=True))
    _show([verify(asset.name) for asset in chosen], as_json)


def _chosen(names: list[str] | None) -> list[Asset]:
    for name in names or ():
        if name not in REGISTRY:
            raise ConfigurationError(f"no asset is called {name!r}; see: e3d assets list")
    return [REGISTRY[name] for name in names or REGISTRY]


def _with_bar(wanted: list[Asset]) -> Iterator[Asset]:
    """Yield the assets one by one, with a bar where somebody looks at a terminal."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        fetched = bar.add_task("", total=len(wanted))
        for asset in wanted:
            bar.update(fetched, description=f"{asset.name} ({_size(asset)})")
            yield asset
            bar.advance(fetched)


def _show(states: Iterable[AssetState], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_as_row(state) for state in states], indent=1))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("name", "state", "size", "licence", "for"):
        table.add_column(title, overflow="fold")
    for state in states:
        asset = state.asset
        table.add_row(asset.name, state.status, _size(asset), asset.licence, asset.purpose)
    Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES).print(table)


def _as_row(state: AssetState) -> dict[str, object]:
    asset = state.asset
    return {
        "name": asset.name,
        "status": state.status,
        "detail": state.detail,
        "path": str(state.path) if state.path else None,
        "size": asset.size,
        "sha256": asset.sha256,
        "purpose": asset.purpose,
        "licence": asset.licence,
        "licence_note": asset.licence_note,
        "non_commercial": asset.non_commercial,
    }


def _size(asset: Asset) -> str:
    return f"{asset.size / 1e6:.1f} MB" if asset.size else ""
