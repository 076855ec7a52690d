"""What both kinds of shots share: settings, inputs fetched from the ledger, the trained network."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from threading import Event, Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from model.inference.animator import Animator
from model.inference.invisible_mark import pattern, with_invisible_mark
from model.inference.smoothing import SmoothingConfig
from model.inference.visible_mark import with_visible_mark
from pipeline.errors import ConfigurationError
from pipeline.faces.models import FaceModelName, widths_of
from pipeline.faces.rows import FaceRows, read_faces
from pipeline.home import e3d_home
from pipeline.provenance.mark_key import MARK_KEY_FILE, mark_key
from pipeline.reports.pictures import jpeg, spread, stack, strip
from pipeline.stage import Resources, Result, Stage, Work
from pipeline.stages.training import device
from pipeline.training.runs import load_network
from preprocess.media.deliver import DeliverySettings
from preprocess.source_frame import SourceFrameConfig
from storage.identity import JSON, plain
from storage.ledger import Commit

Rgb = NDArray[np.uint8]

DELIVERED = "delivered.mp4"
STRIP = "strip.jpg"
THUMBNAIL = "thumbnail.jpg"
_THUMBNAIL_PX = 64
_STRIP_PICTURES = 6
SHOTS_TOGETHER = 4
"""Shots that a worker with a GPU has in work: while one reads or writes, the others use it."""


@dataclass(frozen=True)
class RenderConfig:
    """How shots are rendered and written."""

    visible_mark: bool = True
    """Write 'AI-generated' into a corner of every frame."""
    mark_key: str | None = None
    """Name of the key of the invisible mark, which every worker must have; None leaves it off."""
    seed: int = 0
    """Draws the source frame, where it is drawn."""
    source: SourceFrameConfig = field(default_factory=SourceFrameConfig)
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    batch: int = 8
    """Frames in one pass of the network; the last digits of a frame depend on it."""
    gpus: float = 0
    """Devices of a worker; changes no key."""

    def identity(self) -> JSON:
        """Everything but the devices."""
        return {name: value for name, value in plain(self).items() if name != "gpus"}


class Animators:
    """The networks of a worker by checkpoint; a job has one, so one is kept."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._lock = Lock()
        self._key = ""
        self._animator: Animator | None = None

    def of(self, work: Work) -> Animator:
        """Return an animator with the weights that the shot names."""
        named: Any = work.item.inputs["checkpoint"]
        with self._lock:
            if self._animator is None or self._key != named["key"]:
                folder = work.folder / "checkpoint"
                folder.mkdir()
                commit = work.ledger.expect(named["stage"], named["key"])
                network = load_network(work.ledger, commit, folder)
                self._animator = Animator(network, device=device(), batch=self._batch)
                self._key = named["key"]
            return self._animator


class Marks:
    """The marks of delivered frames: an invisible one in what is generated, then a visible one."""

    def __init__(self, config: RenderConfig) -> None:
        """Raise ConfigurationError where this machine has not the key that the job is to use."""
        self._visible = config.visible_mark
        self._pattern: Callable[[int, int], NDArray[np.float32]] | None = None
        if config.mark_key is not None:
            key = mark_key(e3d_home())
            if key.name != config.mark_key:
                raise ConfigurationError(
                    f"the job marks films with key {config.mark_key}, and this machine has key "
                    f"{key.name}: give every machine that renders the same {MARK_KEY_FILE}"
                )
            self._pattern = lru_cache(SHOTS_TOGETHER)(partial(pattern, key))

    def on(self, frame_HWC: Rgb, where_HW: NDArray[np.float32] | None, number: int) -> Rgb:
        """Return frame `number` of a delivered film with its marks.

        where_HW says how far each pixel is generated, 0 to 1; None where nothing is.
        """
        if self._pattern is not None and where_HW is not None:
            pattern_HW = self._pattern(*where_HW.shape)
            frame_HWC = with_invisible_mark(frame_HWC, pattern_HW, where_HW, number)
        return with_visible_mark(frame_HWC) if self._visible else frame_HWC


class RenderStage(Stage):
    """A stage that renders shots, one work each; on a GPU some side by side, in common batches."""

    config: RenderConfig

    def __init__(self, config: RenderConfig) -> None:
        super().__init__(config)
        self.batch_size = shots = SHOTS_TOGETHER if config.gpus else 1
        self.resources = Resources(cpus=1 + shots, gpus=config.gpus, memory_gib=2 + shots)

    def identity(self) -> JSON:
        """How shots are rendered and written."""
        return self.config.identity()

    def setup(self) -> None:
        """Prepare for the network, which comes with the first shot."""
        self._animators = Animators(self.config.batch)
        self._marks = Marks(self.config)

    def process(self, batch: Sequence[Work]) -> list[Result]:
        """Render each shot, in a thread of its own.

        After an exception in one, the others end with the next frame: the runner tries each again
        by itself.
        """
        if len(batch) == 1:
            return [self._render(batch[0])]
        is_over, one_at_a_time = Event(), Lock()

        def watched(work: Work) -> Work:
            def report(done: int, total: int) -> None:
                if is_over.is_set():
                    raise CancelledError
                with one_at_a_time:
                    work.report(done, total)

            return replace(work, report=report)

        with ThreadPoolExecutor(len(batch)) as pool:
            shots = [pool.submit(self._render, watched(work)) for work in batch]
            try:
                for shot in as_completed(shots):
                    shot.result()
            except BaseException:
                is_over.set()
                raise
        return [shot.result() for shot in shots]

    @abstractmethod
    def _render(self, work: Work) -> Result:
        """Render one shot."""


def faces_of(work: Work, film: str, person: int | None = None) -> tuple[dict[str, str], FaceRows]:
    """Return a person of one of the shot's films ("film" or "performance"), by default the leading.

    Store keys of the clips by clip id, and a row for each frame of the film.
    """
    folder = work.folder / f"{film}-tables"
    folder.mkdir()
    commit = commit_of(work, film, "face3d")
    widths = widths_of(FaceModelName(str(work.item.places["face_model"])))
    clips, rows = read_faces(work.ledger, commit, widths, folder)
    keys = {clip["clip_id"]: clip["clip_key"] for clip in clips if clip["clip_key"]}
    return keys, rows.of_person(rows.leading_person() if person is None else person)


def commit_of(work: Work, film: str, stage: str) -> Commit:
    """Return the commit of a stage of one of the shot's films."""
    keys: Any = work.item.inputs[film]
    return work.ledger.expect(stage, keys[stage])


class BeforeAfter:
    """Collects pairs of frames, spread over a shot, for the picture in the report."""

    def __init__(self, frames: int) -> None:
        self._wanted = set(spread(frames, _STRIP_PICTURES))
        self._pairs: list[tuple[Rgb, Rgb]] = []

    def see(self, frame: int, before: Rgb, after: Rgb) -> None:
        """Take in a frame; kept small, and only where it is wanted."""
        if frame in self._wanted:
            self._pairs.append((_small(before), _small(after)))

    def write(self, folder: Path) -> dict[str, Path]:
        """Write the rows before and after under each other, and one small picture of the shot."""
        rows = [strip([pair[row] for pair in self._pairs], 180) for row in (0, 1)]
        _, middle = self._pairs[len(self._pairs) // 2]
        files = {STRIP: folder / STRIP, THUMBNAIL: folder / THUMBNAIL}
        files[STRIP].write_bytes(jpeg(stack(rows), max_width_px=1600).data)
        files[THUMBNAIL].write_bytes(jpeg(strip([middle], _THUMBNAIL_PX)).data)
        return files


def _small(frame: Rgb) -> Rgb:
    width = round(frame.shape[1] * 180 / frame.shape[0])
    return np.asarray(cv2.resize(frame, (width, 180), interpolation=cv2.INTER_AREA), np.uint8)


def grown(frame: Rgb, size_px: int) -> Rgb:
    """Return a square frame at another size."""
    if frame.shape[0] == size_px:
        return frame
    kernel = cv2.INTER_AREA if frame.shape[0] > size_px else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(frame, (size_px, size_px), interpolation=kernel), np.uint8)
