"""The command `e3d`. Heavy packages are imported inside commands, so that help comes at once.

Whatever ends a command, the user reads one sentence, and the exit code is one of `ExitCode`.
"""

import importlib.metadata
import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer
from typer.main import get_command

from flows.cli import assets, consent, crash, facemodel
from flows.cli.demo import demo
from flows.cli.describe import describe
from flows.cli.doctor import doctor
from flows.cli.evaluate import evaluate
from flows.cli.examples import examples
from flows.cli.exit_code import ExitCode
from flows.cli.preprocess import preprocess
from flows.cli.render import render, retry
from flows.cli.report import report
from flows.cli.status import status
from flows.cli.train import train
from flows.cli.ui import ui
from flows.cli.verify import verify
from flows.redact import redact
from flows.server import ServerError
from pipeline.errors import ConfigurationError
from pipeline.runners.contract import RunError
from storage.assets import AssetError
from storage.store import StoreError

app = typer.Typer(
    name="e3d",
    help="Films to talking-face datasets, 3D-aware portrait animation, and film dubbing in bulk.",
    epilog=examples("e3d doctor", "e3d COMMAND --help"),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command(
    epilog=examples(
        "e3d preprocess films/ --store ./e3d-store --dataset actors",
        "e3d preprocess s3://films/a.mp4 --store s3://bucket/e3d --dataset actors --json",
    )
)(preprocess)
app.command(
    epilog=examples(
        "e3d train --store ./e3d-store --dataset actors --recipe export3d_256 --run first",
        "e3d train --store s3://bucket/e3d --dataset actors --recipe export3d_256 --run first "
        "--gpus 1 --ray auto",
    )
)(train)
app.command(
    epilog=examples(
        "e3d evaluate --store ./e3d-store --run first",
        "e3d evaluate --store s3://bucket/e3d --run first --dataset others --json",
    )
)(evaluate)
app.command(
    epilog=examples(
        "e3d render job.yaml --store ./e3d-store",
        "e3d render job.yaml --store s3://bucket/e3d --max-failures 3 --json",
    )
)(render)
app.command(
    epilog=examples(
        "e3d retry reel-7 --store ./e3d-store",
        "e3d retry reel-7 --store s3://bucket/e3d --json",
    )
)(retry)
app.command(
    epilog=examples(
        "e3d verify e3d-store/deliver/reel-7/shot-010.mp4 --store e3d-store",
        "e3d verify shot-010.mp4 --json",
    )
)(verify)
app.command(
    epilog=examples(
        "e3d status --store ./e3d-store", "e3d status actors --store ./e3d-store --json"
    )
)(status)
app.command(
    epilog=examples(
        "e3d report actors --store ./e3d-store",
        "e3d report actors --store s3://bucket/e3d --out actors.html --json",
    )
)(report)
app.command(epilog=examples("e3d describe", "e3d describe export3d_256 --json"))(describe)
app.command(epilog=examples("e3d demo", "e3d demo --store s3://bucket/demo"))(demo)
app.command(epilog=examples("e3d doctor", "e3d doctor --store s3://bucket/e3d"))(doctor)
app.add_typer(assets.app, name="assets")
app.add_typer(facemodel.app, name="facemodel")
app.add_typer(consent.app, name="consent")
app.command(epilog=examples("e3d ui", "E3D_HOME=/data/e3d e3d ui"))(ui)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"e3d {importlib.metadata.version('export3d-pipeline')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line of this process, and exit with an `ExitCode` or 0."""
    sys.excepthook = crash.report
    signal.signal(signal.SIGTERM, _terminate)
    try:
        # Not app(): it puts a hook of its own before ours.
        get_command(app)(prog_name="e3d")
    except (AssetError, ConfigurationError, RunError, ServerError, StoreError) as error:
        typer.echo(f"e3d: {redact(str(error))}", err=True)
        sys.exit(ExitCode.BAD_USE)
    except SystemExit as end:
        if end.code in {ExitCode.INTERRUPTED, ExitCode.TERMINATED}:
            typer.echo(
                "e3d: stopped; what was committed is kept; run the same command again", err=True
            )
        raise


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(ExitCode.TERMINATED)


if __name__ == "__main__":
    main()
