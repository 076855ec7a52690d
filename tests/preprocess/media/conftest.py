"""Synthetic films whose every picture carries its own index in large black and white blocks."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from preprocess.media.decode import decode_film

ROWS, COLUMNS = 2, 6


def _paint(index: int, width: int = 192, height: int = 96) -> np.ndarray:
    """RGB picture that shows `index` (12 bits); blocks this large survive any compression."""
    bits = [(index >> k) & 1 for k in range(ROWS * COLUMNS)]
    grid = np.array(bits, np.uint8).reshape(ROWS, COLUMNS) * 255
    rows = np.arange(height) * ROWS // height
    columns = np.arange(width) * COLUMNS // width
    return np.repeat(grid[rows][:, columns][..., None], 3, axis=2)


def _read_index(rgb: np.ndarray) -> int:
    """Index that a picture shows; wrong, not near, when the picture is turned or mirrored."""
    height, width = rgb.shape[:2]
    index = 0
    for k in range(ROWS * COLUMNS):
        row, column = divmod(k, COLUMNS)
        y, x = (2 * row + 1) * height // (2 * ROWS), (2 * column + 1) * width // (2 * COLUMNS)
        block = rgb[y - 3 : y + 4, x - 3 : x + 4].mean()
        assert block < 70 or block > 185, "a block is neither black nor white"
        index |= int(block > 127) << k
    return index


def _make_film(
    path: Path,
    pts: Sequence[int],
    time_base: Fraction = Fraction(1, 30),
    *,
    pictures: Callable[[int], np.ndarray] = _paint,
    container: str | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    b_frames: int = 0,
    rate: Fraction | None = None,
    rotation: tuple[float, bool, bool] | None = None,
    sar: Fraction | None = None,
    tags: tuple[int, int, int, int] = (0, 2, 2, 2),
    audio: tuple[str, float, float] | None = None,
    wave: np.ndarray | None = None,
    x264_params: str = "",
    options: dict[str, str] | None = None,
) -> Path:
    """Write a film of len(pts) pictures. audio: codec, start in s, duration in s of a tone.

    wave: what sounds in place of the tone, from -1 to 1 at 44100 Hz.
    """
    first = pictures(0)
    with av.open(str(path), "w", format=container, options=options or {}) as output:
        nominal = rate or Fraction(1 / (time_base * (pts[1] - pts[0] if len(pts) > 1 else 1)))
        stream = output.add_stream(codec, rate=nominal)
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = pix_fmt
        if codec == "libx264":
            stream.options = {"preset": "ultrafast", "crf": "18", "bf": str(b_frames), "g": "12"}
            stream.options |= {"x264-params": x264_params} if x264_params else {}
        if codec == "libx265":
            params = f"log-level=error:keyint=12:open-gop=0:bframes={b_frames}"
            stream.options = {"preset": "ultrafast", "x265-params": params}
        context = stream.codec_context
        context.time_base, context.thread_count = time_base, 1
        context.color_range, context.color_primaries, context.color_trc, context.colorspace = tags
        if sar is not None:
            context.sample_aspect_ratio = sar
        if rotation is not None:
            stream.set_display_rotation(*rotation)
        sound = output.add_stream(audio[0], rate=44100, layout="mono") if audio else None
        for index, stamp in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(pictures(index), "rgb24").reformat(
                format=pix_fmt,
                dst_colorspace=tags[3] if tags[3] != 2 else 5,
                dst_color_range=tags[0] or 1,
            )
            frame.pts, frame.time_base = stamp, time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if audio and sound is not None:
            tone = _tone(audio[2]) if wave is None else wave
            for frame in _sound_frames(audio[1], tone):
                output.mux(sound.encode(frame))
            output.mux(sound.encode(None))
    return path


def _tone(duration_s: float) -> np.ndarray:
    return 8000 / 32768 * np.sin(2 * np.pi * 440 * np.arange(round(duration_s * 44100)) / 44100)


def _sound_frames(start_s: float, wave: np.ndarray) -> list[Any]:
    frames = []
    samples = np.trunc(wave * 32768).astype(np.int16)
    for first in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(
            samples[None, first : first + 1024], format="s16", layout="mono"
        )
        frame.sample_rate, frame.pts = 44100, first + round(start_s * 44100)
        frame.time_base = Fraction(1, 44100)
        frames.append(frame)
    return frames


def _beep(at_s: float, duration_s: float = 3.0) -> np.ndarray:
    """60 ms of 1 kHz that set in at at_s, silence around."""
    t_s = np.arange(round(duration_s * 44100)) / 44100
    sounding = (t_s >= at_s) & (t_s < at_s + 0.06)
    return np.where(sounding, 0.5 * np.sin(2 * np.pi * 1000 * (t_s - at_s)), 0.0)


def _onset_s(path: Path) -> float:
    """Time on the file's clock at which its decoded sound first becomes loud.

    An independent measurement for sync.py: another resampler and no correlation.
    """
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("s16", "mono", 44100)
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                loud = np.flatnonzero(np.abs(part.to_ndarray().ravel().astype(int)) > 6000)
                if len(loud):
                    return float(part.pts * part.time_base) + loud[0] / 44100
    raise AssertionError("nothing is loud")


def _flash_of(path: Path) -> tuple[int, float]:
    """(index, time in s) of the brightest frame."""
    bright = [
        (float(frame.rgb.mean()), i, frame.pts_s) for i, frame in enumerate(decode_film(path))
    ]
    _, index, time_s = max(bright)
    return index, time_s


@pytest.fixture(scope="session")
def paint() -> Callable[..., np.ndarray]:
    return _paint


@pytest.fixture(scope="session")
def read_index() -> Callable[[np.ndarray], int]:
    return _read_index


@pytest.fixture(scope="session")
def make_film() -> Callable[..., Path]:
    return _make_film


@pytest.fixture(scope="session")
def beep() -> Callable[..., np.ndarray]:
    return _beep


@pytest.fixture(scope="session")
def onset_s() -> Callable[..., float]:
    return _onset_s


@pytest.fixture(scope="session")
def flash_of() -> Callable[..., tuple[int, float]]:
    return _flash_of


@dataclass(frozen=True)
class Reading:
    """What a film gave: [(time in s, digest of the pixels)], ticks at 25 fps, reason, damage."""

    frames: list[tuple[Fraction, str]]
    ticks: int
    reason: str
    damage: str


class _ReaderApart:
    """A process that reads films one by one, each within a time limit."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        root = Path(__file__).parents[3]
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("film_reader.py"))],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, path: Path) -> Reading:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(path, file=self._process.stdin, flush=True)
        ready, _, _ = select.select([self._process.stdout], [], [], self._limit_s)
        assert ready, f"{path} took longer than {self._limit_s} s"
        line = self._process.stdout.readline()
        assert line, f"{path} killed its reader"
        told = json.loads(line)
        frames = [(Fraction(time_s), digest) for time_s, digest in told["frames"]]
        return Reading(frames, told["ticks"], told["reason"], told["damage"])

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def read_apart() -> Iterator[Callable[[Path], Reading]]:
    """Read a film through probe, decode and resample in another process, within 30 s."""
    reader = _ReaderApart(30)
    try:
        yield reader
    finally:
        reader.close()
