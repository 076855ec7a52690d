"""Stretches of a file's sound as samples, on the clock of its pictures.

Shapes: N samples.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray
from scipy.signal import resample_poly

from preprocess.media.errors import FilmReason, UnusableFilm
from preprocess.media.probe import probe_audio
from preprocess.media.sound import is_indexed
from preprocess.media.source import open_film, time_base_of

RATE_HZ = 8000
"""Of the samples. Codecs keep the wave below 4 kHz best."""

_WORTH_SEEKING_S = 10.0
_DECODER_WARM_S = 0.5
_WITHOUT_INDEX_S = 600.0
# The clock of a transport stream may begin just before its zero, which is then after 26 hours.
_FAR_AHEAD_S = 3600.0
# Steps of a file's audio clock up to this are rounding (Matroska: milliseconds), not gaps.
_JITTER_S = 0.01

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Wave:
    """Mono sound at RATE_HZ, full scale 1; its first sample stands at start_s."""

    start_s: float
    wave_N: Samples


@dataclass(frozen=True)
class Sound:
    """A file's sound on a clock whose zero is zero_s on the file's own.

    start_s: where the sound begins on that clock; declared_s: how long it is said to last. indexed:
    whether reading may begin in the middle of the file.
    """

    path: Path
    zero_s: float
    start_s: float
    declared_s: float | None
    indexed: bool

    @classmethod
    def of(cls, path: Path, after_picture_s: float) -> "Sound":
        """Open a film or sound file; zero is after_picture_s after its first picture.

        In a file of sound alone zero stands for the first picture. Raises UnusableFilm when there
        is no sound, or no decoder for it.
        """
        audio, video_start_s = probe_audio(path)
        if audio.channels == 0 and audio.codec == "unknown":
            raise UnusableFilm(FilmReason.NO_AUDIO, "there is no decoder for the film's sound")
        zero_s = (video_start_s or 0.0) + after_picture_s
        with open_film(path) as container:
            indexed = is_indexed(container)
        return cls(path, zero_s, audio.start_s - zero_s, audio.duration_s, indexed)

    def end_s(self, start_s: float) -> float:
        """Where to stop looking from start_s on; headers are good enough for that."""
        declared_s = _WITHOUT_INDEX_S if self.declared_s is None else self.declared_s
        end_s = self.start_s + declared_s
        return end_s if self.indexed else min(end_s, start_s + _WITHOUT_INDEX_S)

    def waves(self, spans: Sequence[tuple[float, float]]) -> Iterator[Wave]:
        """Sound of each span (from, to in s, in order); silence where the file has none."""
        with open_film(self.path) as container:
            stream = container.streams.audio[0]
            for group in _groups(spans):
                first_s, last_s = group[0][0], group[-1][1]
                whole = self._read(container, stream, first_s, last_s)
                for start_s, end_s in group:
                    at = max(0, round((start_s - whole.start_s) * RATE_HZ))
                    wave_N = whole.wave_N[at : at + round((end_s - start_s) * RATE_HZ)]
                    yield Wave(whole.start_s + at / RATE_HZ, wave_N)

    def _read(
        self, container: InputContainer, stream: AudioStream, start_s: float, end_s: float
    ) -> Wave:
        from_s, to_s = start_s + self.zero_s, end_s + self.zero_s
        if self.indexed and start_s - self.start_s > _WORTH_SEEKING_S:
            early_s = from_s - _DECODER_WARM_S
            with contextlib.suppress(av.FFmpegError):  # then it is read from where it stands
                container.seek(round(early_s / float(time_base_of(stream))), stream=stream)
        runs = _runs(_blocks(container, stream, from_s, to_s))
        rate_hz = runs[0].rate_hz if runs else RATE_HZ
        error_s, wave_N = _joined(runs, from_s, to_s, rate_hz)
        return Wave(start_s + error_s, _at_our_rate(wave_N, rate_hz))


@dataclass
class _Run:
    """Sound without a gap: where its first sample stands, as each of its blocks has it."""

    rate_hz: int
    starts_s: list[float]
    blocks: list[Samples]
    samples: int = 0

    @property
    def start_s(self) -> float:
        return float(np.mean(self.starts_s))


def _groups(spans: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Spans that are best read in one go."""
    groups: list[list[tuple[float, float]]] = []
    for span in spans:
        if groups and span[0] - groups[-1][-1][1] < 1:
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups


def _blocks(
    container: InputContainer, stream: AudioStream, from_s: float, to_s: float
) -> Iterator[tuple[float, int, Samples]]:
    """(time of the first sample, rate, mono samples) of the sound around from_s to to_s, by blocks.

    What cannot be decoded is passed over.
    """
    time_base = float(time_base_of(stream))
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        for frame in frames:
            if frame.pts is None:
                continue
            at_s = frame.pts * time_base
            if to_s <= at_s < to_s + _FAR_AHEAD_S:
                return
            if from_s - _DECODER_WARM_S < at_s < to_s:
                yield at_s, frame.sample_rate, _mono(frame)


def _mono(frame: av.AudioFrame) -> Samples:
    """Mean of the channels, full scale 1."""
    stored = frame.to_ndarray()
    channels = len(frame.layout.channels)
    samples = stored if frame.format.is_planar else stored.reshape(-1, channels).T
    mono: Samples = samples.mean(axis=0, dtype=np.float64).astype(np.float32)
    if stored.dtype.kind == "u":
        mono -= 128
    return mono if stored.dtype.kind == "f" else mono / 2 ** (8 * stored.dtype.itemsize - 1)


def _runs(blocks: Iterable[tuple[float, int, Samples]]) -> list[_Run]:
    """Join blocks that follow each other; those of another rate than the first are left out."""
    runs: list[_Run] = []
    for at_s, rate_hz, samples in blocks:
        if runs and rate_hz != runs[0].rate_hz:
            continue
        start_s = at_s - (runs[-1].samples / rate_hz if runs else 0)
        if not runs or abs(start_s - runs[-1].starts_s[0]) > _JITTER_S:
            start_s = at_s
            runs.append(_Run(rate_hz, [], []))
        runs[-1].starts_s.append(start_s)
        runs[-1].blocks.append(samples)
        runs[-1].samples += len(samples)
    return runs


def _joined(runs: list[_Run], from_s: float, to_s: float, rate_hz: int) -> tuple[float, Samples]:
    """(time of the first sample after from_s, sound from there to to_s), silent between runs."""
    wave_N = np.zeros(max(0, round((to_s - from_s) * rate_hz)), np.float32)
    error_s, most = 0.0, 0
    for run in runs:
        at = round((run.start_s - from_s) * rate_hz)
        samples = np.concatenate(run.blocks)[max(0, -at) :]
        at = max(0, at)
        part = samples[: max(0, len(wave_N) - at)]
        wave_N[at : at + len(part)] = part
        if len(part) > most:  # runs lie between the samples of each other
            most = len(part)
            exact = (run.start_s - from_s) * rate_hz
            error_s = (exact - round(exact)) / rate_hz
    return error_s, wave_N


def _at_our_rate(wave_N: Samples, rate_hz: int) -> Samples:
    if not len(wave_N):
        return wave_N
    shared = math.gcd(RATE_HZ, rate_hz)
    return np.asarray(resample_poly(wave_N, RATE_HZ // shared, rate_hz // shared), np.float32)
