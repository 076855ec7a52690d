"""What every command that runs a flow needs around it, and the options they share."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from flows.cli.exit_code import ExitCode
from flows.server import PrefectServer, prefect_server
from pipeline.errors import ConfigurationError
from pipeline.reaper import guard_children
from pipeline.scratch import scratch_root, sweep

Store = Annotated[
    str, typer.Option(help="Where everything is kept: a folder, or s3://bucket/prefix.")
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="A Ray cluster to work on; default: one of our own on this machine; "
        "none: a plain loop.",
    ),
]
SingleWriter = Annotated[
    bool,
    typer.Option(
        help="Allow a store without conditional writes; then run one command on it at a time."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write the result as JSON to stdout.")]


@contextmanager
def operating(store: str, *, single_writer: bool) -> Iterator[PrefectServer]:
    """Have a tried store, a Prefect server, and no process left behind however it ends."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # it warns of its own default backend
    with guard_children():
        sweep(scratch_root())  # of commands that were killed: this one may start no worker to do so
        _try_store(store, single_writer=single_writer)
        with prefect_server() as server:
            typer.echo(f"Prefect UI: {server.ui_url}", err=True)
            with _stopped_where_cancelled():
                yield server


@contextmanager
def _stopped_where_cancelled() -> Iterator[None]:
    """End the command as Ctrl-C would, where its run was cancelled in the Prefect UI."""
    try:
        yield
    except Exception as error:
        from prefect.exceptions import CancelledRun

        if not isinstance(error, CancelledRun):
            raise
        typer.echo(f"e3d: {error}", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def show(result: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Write a result for a program or for a person."""
    typer.echo(json.dumps(result, indent=1) if as_json else text)


def why(row: Mapping[str, Any]) -> str:
    """Return the reason of an outcome with its sentence; empty where all is well."""
    return ": ".join(said for said in (row["reason"], row["detail"]) if said)


def as_lines(value: Mapping[str, Any], indent: str = "") -> str:
    """Return nested facts as indented lines."""
    lines = []
    for key, entry in value.items():
        if isinstance(entry, Mapping):
            lines += [f"{indent}{key}:", as_lines(entry, indent + "  ")]
        elif isinstance(entry, list):
            lines += [f"{indent}{key}:", *(f"{indent}  {_row(row)}" for row in entry)]
        else:
            lines.append(f"{indent}{key}: {entry}")
    return "\n".join(lines)


def _row(row: Any) -> str:
    if not isinstance(row, Mapping):
        return str(row)
    facts = {key: value for key, value in row.items() if value not in ("", None, {}, [])}
    return ", ".join(f"{key} {value}" for key, value in facts.items())


def _try_store(url: str, *, single_writer: bool) -> None:
    from storage.probe import probe_create_only
    from storage.store import open_store

    probed = probe_create_only(open_store(url))
    if not probed.honours_create and not single_writer:
        raise ConfigurationError(
            f"{url}: {probed.detail}; with --single-writer it can be used by one command at a time"
        )
