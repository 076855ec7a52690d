"""A run that was never trained: the tiny network as it is born, published as `e3d train` does."""

import dataclasses
from pathlib import Path

import torch

from model.export3d.network import Export3D
from model.export3d.sizes import export3d_test
from model.training.holdout import Holdout
from model.training.state import plain
from pipeline import dataset as datasets
from pipeline.recipes import train_recipe
from pipeline.stages.train_export3d import WEIGHTS
from pipeline.training.job import begin_training
from pipeline.training.runs import TrainedRun
from storage.checkpoints import write_checkpoint
from storage.identity import digest
from storage.ledger import Commit, Ledger

RECIPE = "export3d_test"
GAP_FRAMES = 2


def publish_untrained(
    ledger: Ledger,
    dataset: str,
    run: str,
    folder: Path,
    *,
    seed: int = 0,
    tail_share: float = 0.0,
    start: str | None = None,
    **card: object,
) -> tuple[TrainedRun, Commit]:
    """Publish a run on the newest version of a dataset, and commit weights as its end.

    The last `tail_share` of every clip counts as kept from training; `card` is added to its card.
    """
    version = datasets.load(ledger, dataset)
    recipe = train_recipe(RECIPE)
    holdout = Holdout(tail_share, GAP_FRAMES)
    export3d = dataclasses.replace(recipe.export3d, holdout=holdout)
    recipe = dataclasses.replace(recipe, export3d=export3d)
    if start is not None:
        recipe = recipe.from_weights()
    published, _ = begin_training(ledger, run, recipe, dataset, version, start)
    torch.manual_seed(seed)
    network = Export3D(export3d_test())
    folder.mkdir(parents=True, exist_ok=True)
    card |= {"network": plain(network.config), "ended": "steps", "position": {"steps": [0, 0]}}
    commit = ledger.commit(
        "export3d",
        published.keys["export3d"],
        outcome="ok",
        files=write_checkpoint(folder, {WEIGHTS: network.state_dict()}, card),
        info={"dataset": version.key, "ended": "steps"},
        started_at="2026-01-01T00:00:00.000+00:00",
        seconds=0.0,
    )
    return published, commit


def publish_version(
    ledger: Ledger, name: str, like: datasets.DatasetVersion, films: list[str], **kind: str
) -> datasets.DatasetVersion:
    """Publish a dataset that holds these films of another one, or says to be of another kind."""
    changed = dataclasses.replace(like.kind, **kind)
    entries = [dataclasses.asdict(film) for film in like.films if film.name in films]
    info = {"kind": dataclasses.asdict(changed), "films": entries}
    commit = ledger.commit(
        "dataset",
        digest([name, films, kind]),
        outcome="ok",
        info=info,
        started_at="2026-01-01T00:00:00.000+00:00",
        seconds=0.0,
    )
    ledger.publish("datasets", name, {"key": commit.key})
    return datasets.load(ledger, name)
