"""What every training stage does around training: clips, checkpoints, history, result."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.training.data import Clip, TrainingDataError
from model.training.loop import STOPPED, MetricRow, Watch
from model.training.state import TrainedState
from pipeline import dataset as datasets
from pipeline.clock import utc_now
from pipeline.reports.pixels import png
from pipeline.reports.tensorboard import EVENTS, event_file
from pipeline.stage import InterruptedStageError, Outcome, Result, Work
from pipeline.training.clips import training_clips
from storage.checkpoints import read_checkpoint, write_checkpoint
from storage.identity import JSON, digest
from storage.ledger import Commit, Ledger

CHECKPOINTS = "checkpoints"
CHECKPOINT_STAGE = "checkpoint"
METRICS = "metrics.jsonl"

Train = Callable[[Sequence[Clip], TrainedState | None, Watch], TrainedState]


@dataclass(frozen=True)
class Reached:
    """What a training has come to."""

    state: TrainedState
    history: "History"
    counts: Mapping[str, int]
    """Clips and frames that it was given."""


def run_training(work: Work, groups: Sequence[str], reach: Callable[[], Reached]) -> Result:
    """Train by `reach`, and return a result with the tensors of `groups` and the history.

    Two runs of one key, killed or not, give the same tensors on one kind of machine. Raises
    InterruptedStageError where the run was cancelled; there is a checkpoint then.
    """
    try:
        reached = reach()
    except TrainingDataError as error:  # the dataset's fault, and so an outcome
        return Result(Outcome.FAILED, "too_little_data", str(error))
    if reached.state.card["ended"] == STOPPED:
        raise InterruptedStageError
    out = work.folder / "trained"
    out.mkdir()
    tensors = {group: reached.state.tensors[group] for group in groups}
    card = reached.state.card
    return Result(
        Outcome.OK,
        counts=reached.counts,
        files={**write_checkpoint(out, tensors, card), **reached.history.files()},
        info={"dataset": work.item.inputs["dataset"], "ended": card["ended"]},
    )


def train_here(work: Work, key: str, train: Train, *, leads: bool = True) -> Reached:
    """Train on the dataset that the item names; go on from the newest checkpoint under `key`.

    One of several processes that train together does so by the same call; only the one that
    leads writes checkpoints and reports.
    """
    dataset = datasets.load_key(work.ledger, str(work.item.inputs["dataset"]))
    clips = training_clips(work.ledger, dataset, work.folder)
    counts = {"clips": len(clips), "frames": sum(clip.n_frames for clip in clips)}
    before = reached_before(work, key)
    history = before.history if before else History(work.folder)

    def keep(reached: TrainedState) -> None:
        _keep_checkpoint(work, key, Reached(reached, history, counts))

    watch = Watch(
        on_metrics=history.add,
        on_sample=history.show,
        on_checkpoint=keep,
        on_progress=work.report,
        should_stop=work.should_stop,
    )
    state = train(clips, before.state if before else None, watch if leads else Watch())
    return Reached(state, history, counts)


def reached_before(work: Work, key: str) -> Reached | None:
    """Return what the newest checkpoint of the training holds, if there is one."""
    commit = newest_checkpoint(work.ledger, key)
    if commit is None:
        return None
    folder = work.folder / "resume"
    folder.mkdir()
    for output in commit.outputs:
        is_history = output.name == METRICS or output.name.endswith(".png")
        work.ledger.fetch(output, work.folder if is_history else folder)
    history = History(work.folder)
    history.read([output.name for output in commit.outputs])
    tensors, card = read_checkpoint(folder)
    return Reached(TrainedState(tensors, card), history, commit.counts)


def device() -> torch.device:
    """Return what this worker was given: a GPU where the run asked for one, else the cores."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def newest_checkpoint(ledger: Ledger, key: str) -> Commit | None:
    """Return the newest checkpoint of the training with this stage key, if there is one."""
    found = ledger.latest(CHECKPOINTS, key)
    return None if found is None else ledger.find(CHECKPOINT_STAGE, str(found["key"]))


def _keep_checkpoint(work: Work, key: str, reached: Reached) -> None:
    state = reached.state
    steps = state.card["position"]
    # Seconds spent differ from run to run; the steps reached say which checkpoint this is.
    checkpoint_key = digest({"training": key, "position": steps})
    folder = work.folder / f"checkpoint-{checkpoint_key[:12]}"
    folder.mkdir(exist_ok=True)
    files = write_checkpoint(folder, state.tensors, state.card)
    work.ledger.commit(
        CHECKPOINT_STAGE,
        checkpoint_key,
        outcome=str(Outcome.OK),
        files={**files, **reached.history.files()},
        counts=reached.counts,
        parents=[commit.key for commit in work.item.commits.values()],
        info={"position": steps},
        started_at=utc_now(),
        seconds=0.0,
    )
    work.ledger.publish(CHECKPOINTS, key, {"key": checkpoint_key, "position": steps})
    work.ledger.store.put(
        f"reports/runs/{work.item.id}/tensorboard/{EVENTS}.{key[:12]}", reached.history.events()
    )
    for path in folder.iterdir():
        path.unlink()


@dataclass
class History:
    """Metrics and pictures of a run so far, as files in `folder`."""

    folder: Path
    rows: list[MetricRow] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)

    def add(self, rows: Sequence[MetricRow]) -> None:
        """Append values."""
        self.rows += rows

    def show(self, step: int, picture: NDArray[np.uint8]) -> None:
        """Append a picture of samples, uint8 [H, W, 3], RGB."""
        path = self.folder / f"samples-{step:07d}.png"
        path.write_bytes(png(picture))
        if path not in self.pictures:
            self.pictures.append(path)

    def read(self, names: Sequence[str]) -> None:
        """Take over what lies in the folder; `names` are the files of a checkpoint."""
        lines = (self.folder / METRICS).read_text("utf-8").splitlines()
        self.rows = [MetricRow(**json.loads(line)) for line in lines]
        self.pictures = [self.folder / name for name in names if name.endswith(".png")]

    def events(self) -> bytes:
        """Return everything so far as TensorBoard reads it."""
        return event_file(self.rows, {int(path.stem[-7:]): path for path in self.pictures})

    def files(self) -> dict[str, Path]:
        """Write the metrics, and return all files by name."""
        metrics = self.folder / METRICS
        rows: list[JSON] = [dataclasses.asdict(row) for row in self.rows]
        metrics.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return {METRICS: metrics, **{path.name: path for path in self.pictures}}
