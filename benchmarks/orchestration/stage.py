"""The stage that stands for rendering; it imports no network, and so its workers start quickly."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.stage import Outcome, Resources, Result, Stage, Work
from storage.identity import JSON

FRAMES = 125

_REPORTS = 20
_STRIP_BYTES = 30_000


@dataclass(frozen=True)
class Config:
    seconds: float
    """Of a shot's nap."""
    cpus: float
    """Of a worker: so many of them find room."""
    film: str
    """The file whose copies are the rendered films."""
    delivered: str
    """Name of the output that is such a copy."""
    pictures: tuple[str, ...]
    """Names of the outputs that stand for the report's pictures."""


class SimulatedShot(Stage):
    """Naps, reports frames as rendering does, and gives a small film of its own."""

    name = "simulated-shot"
    version = 1

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.resources = Resources(cpus=config.cpus, memory_gib=0.1)

    def identity(self) -> JSON:
        return None

    def process(self, batch: Sequence[Work]) -> list[Result]:
        return [self._one(work) for work in batch]

    def _one(self, work: Work) -> Result:
        ends_s = time.monotonic() + self.config.seconds
        for part in range(1, _REPORTS + 1):
            left_s = ends_s - time.monotonic()
            time.sleep(max(0.0, left_s / (_REPORTS + 1 - part)))
            work.report(part * FRAMES // _REPORTS, FRAMES)
        film = work.folder / self.config.delivered
        film.write_bytes(Path(self.config.film).read_bytes() + _free_box(work.item.id))
        pictures = {name: work.folder / name for name in self.config.pictures}
        for picture in pictures.values():
            picture.write_bytes(bytes(_STRIP_BYTES))
        return Result(
            Outcome.OK,
            counts={"frames_total": FRAMES, "frames_rendered": FRAMES, "frames_kept": 0},
            files={film.name: film, **pictures},
            info={"network_s": self.config.seconds, "enlargement": 1.0, "av_offset_s": 0.0},
        )


def _free_box(content: str) -> bytes:
    """An mp4 box that players pass over: with it the film plays the same and is another one."""
    data = content.encode()
    return (8 + len(data)).to_bytes(4, "big") + b"free" + data
