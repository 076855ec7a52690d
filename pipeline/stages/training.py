"""What every training stage does around training: clips, checkpoints, history, result."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model.training.data import Clip, TrainingDataError
from model.training.loop import MetricRow, Watch
from model.training.state import TrainedState
from pipeline import dataset as datasets
from pipeline.clock import utc_now
from pipeline.stage import Outcome, Result, Work
from pipeline.training_clips import training_clips
from storage.checkpoints import read_checkpoint, write_checkpoint
from storage.identity import JSON, digest
from storage.ledger import Commit, Ledger

CHECKPOINTS = "checkpoints"
_CHECKPOINT_STAGE = "checkpoint"
METRICS = "metrics.jsonl"

Train = Callable[[Sequence[Clip], TrainedState | None, Watch], TrainedState]


def run_training(work: Work, key: str, groups: Sequence[str], train: Train) -> Result:
    """Train on the dataset that the item names; go on from the newest checkpoint under `key`.

    The result has the tensors of `groups`, the card, the metrics and the pictures of samples. Two
    runs of one key, killed or not, give the same tensors on one kind of machine.
    """
    dataset = datasets.load_key(work.ledger, str(work.item.inputs["dataset"]))
    clips = training_clips(work.ledger, dataset, work.folder)
    history = _History(work.folder)
    state = _resume(work, key, history)

    def keep(reached: TrainedState) -> None:
        _keep_checkpoint(work, key, reached, history)

    watch = Watch(
        on_metrics=history.add,
        on_sample=history.show,
        on_checkpoint=keep,
        on_progress=work.report,
    )
    try:
        trained = train(clips, state, watch)
    except TrainingDataError as error:  # the dataset's fault, and so an outcome
        return Result(Outcome.FAILED, "too_little_data", str(error))
    out = work.folder / "trained"
    out.mkdir()
    tensors = {group: trained.tensors[group] for group in groups}
    return Result(
        Outcome.OK,
        counts={"clips": len(clips), "frames": sum(clip.n_frames for clip in clips)},
        files={**write_checkpoint(out, tensors, trained.card), **history.files()},
        info={"dataset": dataset.key, "ended": trained.card["ended"]},
    )


def device() -> torch.device:
    """Return what this worker was given: a GPU where the run asked for one, else the cores."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def newest_checkpoint(ledger: Ledger, key: str) -> Commit | None:
    """Return the newest checkpoint of the training with this stage key, if there is one."""
    found = ledger.latest(CHECKPOINTS, key)
    return None if found is None else ledger.find(_CHECKPOINT_STAGE, str(found["key"]))


def _resume(work: Work, key: str, history: "_History") -> TrainedState | None:
    commit = newest_checkpoint(work.ledger, key)
    if commit is None:
        return None
    folder = work.folder / "resume"
    folder.mkdir()
    for output in commit.outputs:
        is_history = output.name == METRICS or output.name.endswith(".png")
        work.ledger.fetch(output, work.folder if is_history else folder)
    history.read([output.name for output in commit.outputs])
    tensors, card = read_checkpoint(folder)
    return TrainedState(tensors, card)


def _keep_checkpoint(work: Work, key: str, state: TrainedState, history: "_History") -> None:
    steps = state.card["position"]
    # Seconds spent differ from run to run; the steps reached say which checkpoint this is.
    checkpoint_key = digest({"training": key, "position": steps})
    folder = work.folder / f"checkpoint-{checkpoint_key[:12]}"
    folder.mkdir(exist_ok=True)
    files = write_checkpoint(folder, state.tensors, state.card)
    work.ledger.commit(
        _CHECKPOINT_STAGE,
        checkpoint_key,
        outcome=str(Outcome.OK),
        files={**files, **history.files()},
        parents=[commit.key for commit in work.item.commits.values()],
        info={"position": steps},
        started_at=utc_now(),
        seconds=0.0,
    )
    work.ledger.publish(CHECKPOINTS, key, {"key": checkpoint_key, "position": steps})
    for path in folder.iterdir():
        path.unlink()


@dataclass
class _History:
    """Metrics and pictures of a run so far, as files in `folder`."""

    folder: Path
    rows: list[MetricRow] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)

    def add(self, rows: Sequence[MetricRow]) -> None:
        self.rows += rows

    def show(self, step: int, picture: NDArray[np.uint8]) -> None:
        path = self.folder / f"samples-{step:07d}.png"
        _, data = cv2.imencode(".png", picture[..., ::-1])
        path.write_bytes(data.tobytes())
        if path not in self.pictures:
            self.pictures.append(path)

    def read(self, names: Sequence[str]) -> None:
        lines = (self.folder / METRICS).read_text("utf-8").splitlines()
        self.rows = [MetricRow(**json.loads(line)) for line in lines]
        self.pictures = [self.folder / name for name in names if name.endswith(".png")]

    def files(self) -> dict[str, Path]:
        metrics = self.folder / METRICS
        rows: list[JSON] = [dataclasses.asdict(row) for row in self.rows]
        metrics.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return {METRICS: metrics, **{path.name: path for path in self.pictures}}
