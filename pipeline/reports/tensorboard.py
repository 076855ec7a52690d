"""A training's history as TensorBoard reads it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tensorboardX import SummaryWriter

from model.training.loop import MetricRow
from pipeline.scratch import scratch_folder
from preprocess.media.picture import read_picture

EVENTS = "events.out.tfevents.e3d"
"""Name of the file: TensorBoard takes any that has `tfevents` in it."""


def event_file(rows: Sequence[MetricRow], pictures: Mapping[int, Path]) -> bytes:
    """Return all metrics, named phase/metric, and the pictures (PNG by step) as one event file.

    Written anew each time from what the run keeps anyway, so a resumed run has one history and
    nothing twice.
    """
    with scratch_folder() as folder:
        with SummaryWriter(str(folder)) as writer:
            for row in rows:
                writer.add_scalar(f"{row.phase}/{row.name}", row.value, row.step)
            for step, path in sorted(pictures.items()):
                picture_HWC = read_picture(path)
                if picture_HWC is not None:
                    writer.add_image("samples", picture_HWC, step, dataformats="HWC")
        (written,) = folder.iterdir()
        return written.read_bytes()
