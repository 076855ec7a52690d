"""Stage 1 of pre-processing: any film becomes a mezzanine that can be read at random, exactly."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from pipeline.films import local_film, unusable
from pipeline.stage import Outcome, Resources, Result, Stage, Work
from preprocess.media.clips import ClipWriter
from preprocess.media.decode import DecodedFrame, DecodeReport, decode_film
from preprocess.media.errors import FilmReason, UnusableFilm
from preprocess.media.probe import FilmInfo, probe_film
from preprocess.media.resample import resample_constant
from preprocess.people.shots import ShotConfig, ShotCounter
from storage.identity import JSON, plain
from storage.schemas import ticks_schema
from storage.tables import write_table

MEZZANINE = "mezzanine.mp4"
TICKS = "ticks.parquet"


@dataclass(frozen=True)
class IngestConfig:
    """How films are brought to one form."""

    fps: int | None = 25
    """Frames per second of the mezzanine; None keeps every source frame once, as dubbing needs."""
    crf: float = 12
    """x264 quality of the mezzanine: visually lossless, since face crops are made from it."""
    preset: str = "ultrafast"
    """x264's speed. Against veryfast at crf 10: the same PSNR (48 to 52 dB), written and read more
    than twice as fast, 1.4 times as large."""
    shots: ShotConfig = field(default_factory=ShotConfig)


class Ingest(Stage):
    """Film in; mezzanine, and shot and source time of every tick, out."""

    name = "ingest"
    version = 2
    resources = Resources(cpus=1, memory_gib=1)
    libraries = ("av", "scenedetect")

    config: IngestConfig

    def identity(self) -> JSON:
        """Rate, quality, and what counts as a cut."""
        return plain(self.config)

    def process(self, batch: Sequence[Work]) -> list[Result]:
        """Decode each film once, in order."""
        return [self._ingest(work) for work in batch]

    def _ingest(self, work: Work) -> Result:
        try:
            film = local_film(str(work.item.places["film"]), work.folder)
            info = probe_film(film)
            if film.stat().st_size != work.item.places["bytes"]:
                detail = "its size has changed since it was identified: is it still being written?"
                raise UnusableFilm(FilmReason.UNREADABLE, detail)
            report = DecodeReport()
            shots = ShotCounter(self.config.shots)
            pts_s = self._write_mezzanine(film, info, report, shots, work)
        except UnusableFilm as found:
            return unusable(found)
        ticks = {"frame_index": range(len(pts_s)), "pts_s": pts_s, "shot": shots.shots()}
        write_table(work.folder / TICKS, ticks, ticks_schema())
        return Result(
            Outcome.OK,
            detail=report.damage,
            counts={"frames_in": report.frames, "frames_out": len(pts_s)},
            files={MEZZANINE: work.folder / MEZZANINE, TICKS: work.folder / TICKS},
            info=_facts(info, report, len(pts_s)),
        )

    def _write_mezzanine(
        self,
        film: Path,
        info: FilmInfo,
        report: DecodeReport,
        shots: ShotCounter,
        work: Work,
    ) -> list[float]:
        expected = max(1, round((info.duration_s or 0) * (self.config.fps or info.fps)))
        # Where source frames are kept one by one, the mezzanine's own clock is only an index.
        rate = self.config.fps or 25
        pts_s: list[float] = []
        path = work.folder / MEZZANINE
        crf, preset = self.config.crf, self.config.preset
        with ClipWriter(path, info.width, info.height, rate, crf=crf, preset=preset) as writer:
            for frame in self._ticks(decode_film(film, report)):
                writer.write(frame.rgb)
                shots.see(frame.rgb)
                pts_s.append(frame.pts_s)
                work.report(len(pts_s), max(expected, len(pts_s)))
        return pts_s

    def _ticks(self, frames: Iterator[DecodedFrame]) -> Iterator[DecodedFrame]:
        if self.config.fps is None:
            return frames
        timed = ((frame.time_s, frame) for frame in frames)
        return (frame for _, frame in resample_constant(timed, Fraction(self.config.fps)))


def _facts(info: FilmInfo, report: DecodeReport, frames_out: int) -> dict[str, JSON]:
    """What the `sources` table and the render say about a film."""
    return {
        "container": info.container,
        "codec": info.codec,
        "width": info.width,
        "height": info.height,
        "fps": info.fps,
        "duration_s": info.duration_s,
        "has_audio": info.audio is not None,
        "start_s": info.start_s,
        "frames_in": report.frames,
        "frames_out": frames_out,
        "damage": report.damage,
        "is_hdr": info.is_hdr,
        "interlaced": info.interlaced,
    }
