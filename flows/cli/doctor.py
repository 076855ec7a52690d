"""`e3d doctor`: whether this machine can run the product, and what to do where it cannot."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Annotated

import typer

from flows.cli import machine
from flows.cli.exit_code import ExitCode
from flows.cli.machine import Check
from flows.redact import redact
from pipeline.home import e3d_home

_NEEDED_ASSET = "face_landmarker"
_COLOURS = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "missing": typer.colors.RED}


def doctor(
    store: Annotated[
        str | None,
        typer.Option(
            help="A store to try as well: a folder, or s3://bucket/prefix.", metavar="URL"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")] = False,
) -> None:
    """Check what the product needs, and say what to do where something is missing.

    Exit code 0 when the default path can run here, 2 when something that it needs is missing.
    """
    checks = []
    for found in examine(store):
        check = replace(found, detail=redact(found.detail), remedy=redact(found.remedy))
        checks.append(check)
        if not as_json:
            _show(check)
    missing = [check.name for check in checks if check.state == "missing"]
    if as_json:
        report = {"ready": not missing, "checks": [asdict(check) for check in checks]}
        typer.echo(json.dumps(report, indent=1))
    elif missing:
        typer.echo(f"Not ready; missing: {', '.join(missing)}.")
    else:
        typer.echo("Ready.")
    raise typer.Exit(ExitCode.BAD_USE if missing else 0)


def examine(store: str | None) -> Iterator[Check]:
    """Yield the checks one by one, quick ones first."""
    from pipeline.scratch import scratch_root

    yield machine.check_python()
    yield machine.check_cores()
    yield machine.check_memory()
    yield machine.check_shared_memory()
    yield machine.check_disk("scratch", scratch_root(), "E3D_SCRATCH")
    yield machine.check_disk("home", e3d_home(), "E3D_HOME")
    yield machine.check_packages()
    native = machine.check_native()
    yield from native
    yield from check_programs()
    yield check_prefect()
    yield from check_assets()
    if store is not None:
        yield check_store(store)
    has_gpu = any(check.name == "gpu" and check.state == "ok" for check in native)
    yield Check("can run", "ok", _what_runs(has_gpu))


def check_programs() -> Iterator[Check]:
    """The ffmpeg and ffprobe that the product will use."""
    from preprocess.media.ffmpeg import FfmpegError, ffmpeg_version, find_ffmpeg, find_ffprobe

    for name, find in (("ffmpeg", find_ffmpeg), ("ffprobe", find_ffprobe)):
        try:
            program = find()
            yield Check(name, "ok", f"{ffmpeg_version(program)}, {program}")
        except FfmpegError as error:
            remedy = "install ffmpeg, or let E3D_FFMPEG name the program"
            yield Check(name, "missing", str(error), remedy)


def check_prefect() -> Check:
    """The server that PREFECT_API_URL names answers; or an embedded one runs or can be started."""
    from flows.server import ServerError, check_api, running_server

    given = os.environ.get("PREFECT_API_URL")
    if given:
        try:
            check_api(given.rstrip("/"))
        except ServerError as error:
            remedy = "start that server, or unset PREFECT_API_URL to use an embedded one"
            return Check("prefect", "missing", str(error), remedy)
        return Check("prefect", "ok", f"{redact(given)} answers")
    running = running_server()
    if running:
        return Check("prefect", "ok", f"an embedded server runs: {running.ui_url}")
    return Check("prefect", "ok", f"embedded, started with each command in {e3d_home()}/prefect")


def check_assets() -> Iterator[Check]:
    """Outside files: the one that pre-processing needs, and all others in one line."""
    from storage.assets import REGISTRY, verify

    states = {name: verify(name) for name in REGISTRY}
    needed = states.pop(_NEEDED_ASSET)
    if needed.status == "present":
        yield Check(_NEEDED_ASSET, "ok", str(needed.path))
    else:
        remedy = f"run: e3d assets fetch {_NEEDED_ASSET}"
        yield Check(_NEEDED_ASSET, "missing", needed.detail, remedy)
    for state in states.values():
        if state.status == "damaged":
            yield Check(state.asset.name, "warning", state.detail)
    absent = [name for name, state in states.items() if state.status == "missing"]
    detail = f"{len(states) - len(absent)} present; absent: {', '.join(absent) or 'none'}"
    yield Check("other assets", "ok", f"{detail}; what each is for: e3d assets list")


def check_store(url: str) -> Check:
    """The store can be written, and refuses a second create of one key."""
    from storage.probe import probe_create_only
    from storage.store import StoreError, open_store

    try:
        result = probe_create_only(open_store(url))
    except StoreError as error:
        remedy = "check the address, AWS_ENDPOINT_URL and the AWS credentials"
        return Check("store", "missing", str(error), remedy)
    if result.honours_create:
        return Check("store", "ok", f"{redact(url)}: {result.detail}")
    remedy = "use a store with conditional writes, or one writer at a time"
    return Check("store", "missing", result.detail, remedy)


def _what_runs(has_gpu: bool) -> str:
    if has_gpu:
        return "every recipe; training and rendering use the GPU, pre-processing the cores"
    return (
        "pre-processing, about one film per core at a time, and the demo and test recipes; "
        "export3d_256 takes minutes a step here and wants a GPU"
    )


def _show(check: Check) -> None:
    state = typer.style(f"{check.state:<8}", fg=_COLOURS[check.state])
    typer.echo(f"{state} {check.name:<15} {check.detail}")
    if check.remedy:
        typer.echo(f"{'':<24} -> {check.remedy}")
