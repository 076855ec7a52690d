"""Training runs by name: which stages they have, and the newest weights of one."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.export3d.config import CLeBSConfig, Export3DConfig
from model.export3d.network import Export3D
from pipeline.errors import ConfigurationError
from pipeline.stages.training import CHECKPOINT_STAGE, newest_checkpoint
from storage.checkpoints import read_checkpoint
from storage.ledger import Commit, Ledger

RUNS = "runs"
WEIGHT_STAGES = ("export3d", CHECKPOINT_STAGE)
"""Stages whose commits hold weights of the network: of a run's end, and on its way."""
_WEIGHTS, _CARD = "weights", "card.json"


@dataclass(frozen=True)
class TrainedRun:
    """A run as published when it began: the keys its stages have or will have."""

    name: str
    recipe: str
    dataset: str
    dataset_key: str
    keys: dict[str, str]
    start: str | None = None
    """The run with whose weights this one began."""
    known: list[str] = field(default_factory=list)
    """Further dataset versions, by key, that those weights had been trained on."""
    holdout: dict[str, Any] | None = None
    """Fields of the Holdout that it keeps to; None in records from before they had it."""


def find_run(ledger: Ledger, name: str) -> TrainedRun:
    """Return the newest run of this name. Raises ConfigurationError, naming the ones there are."""
    found: Any = ledger.latest(RUNS, name)
    if found is None:
        known = ", ".join(ledger.names(RUNS)) or "none yet"
        raise ConfigurationError(
            f"there is no run {name!r} in {ledger.store.url}; there is: {known}"
        )
    return TrainedRun(**found)


def finished(ledger: Ledger, run: TrainedRun) -> dict[str, Commit]:
    """Return the commits of the stages that the run has completed, by stage."""
    found = {stage: ledger.find(stage, key) for stage, key in run.keys.items()}
    return {stage: commit for stage, commit in found.items() if commit and commit.outcome == "ok"}


def newest_weights(ledger: Ledger, run: TrainedRun) -> Commit:
    """Return the commit with the run's newest weights: of its end, else of its last checkpoint."""
    commit = finished(ledger, run).get("export3d")
    commit = commit or newest_checkpoint(ledger, run.keys["export3d"])
    if commit is None:
        raise ConfigurationError(
            f"run {run.name!r} has no checkpoint yet: let `e3d train` go on until it has one"
        )
    return commit


def training_card(ledger: Ledger, commit: Commit) -> dict[str, Any]:
    """Return what a commit with weights says of its network and training; no tensor is read."""
    card: dict[str, Any] = json.loads(ledger.store.get(commit.output(_CARD).key))
    return card


def load_network(ledger: Ledger, commit: Commit, folder: Path) -> Export3D:
    """Return the network of a commit with its weights, in eval mode on the CPU."""
    names = {f"{_WEIGHTS}.safetensors", _CARD}
    for output in commit.outputs:
        # A checkpoint's card lists what only resuming needs, too: all groups are read, none kept.
        if output.name in names or output.name.endswith(".safetensors"):
            ledger.fetch(output, folder)
    tensors, card = read_checkpoint(folder)
    network = Export3D(network_config(card["network"]))
    network.load_state_dict(tensors[_WEIGHTS])
    return network.eval()


def network_config(card: Any) -> Export3DConfig:
    """Return the configuration that a card holds as plain values."""
    values = dict(card)
    values["clebs"] = CLeBSConfig(**values["clebs"])
    values["superres_channels"] = tuple(values["superres_channels"])
    return Export3DConfig(**values)
