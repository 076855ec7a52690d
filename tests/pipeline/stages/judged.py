"""Stages that look at a trained network, run on the small dataset and an untrained one."""

import dataclasses
import shutil
from pathlib import Path

import torch

from model.export3d.network import Export3D
from model.export3d.sizes import export3d_test
from model.training.state import plain
from pipeline import dataset as datasets
from pipeline.clock import utc_now
from pipeline.runners.local import LocalRunner
from pipeline.stage import Item, StageSpec
from storage.checkpoints import write_checkpoint
from storage.identity import digest
from storage.ledger import Commit, Ledger
from storage.store import open_store

WEIGHTS = digest("untrained")


def ledger_of(store: Path) -> Ledger:
    return Ledger(open_store(str(store)))


@dataclasses.dataclass(frozen=True)
class Judged:
    """A store, the item in it, and the bytes of what a stage made of the item, by name."""

    store: Path
    item: Item
    files: dict[str, bytes]


def judge(small_store: Path, folder: Path, spec: StageSpec) -> Judged:
    """Run a stage in a copy of the small store that lies in `folder`."""
    store = Path(shutil.copytree(small_store, folder / "store"))
    item = add_weights(store, folder / "weights")
    done = run(store, spec, item)
    return Judged(store, item, contents(store, done.commits[spec.stage_class.name]))


def add_weights(
    store: Path, folder: Path, *, stage: str = "export3d", expression: str = "clebs"
) -> Item:
    """Commit an untrained network; the item that names it and the small dataset."""
    torch.manual_seed(0)
    config = dataclasses.replace(export3d_test(), expression=expression)
    network = Export3D(config)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    folder.mkdir()
    files = write_checkpoint(folder, {"weights": network.state_dict()}, {"network": plain(config)})
    ledger = ledger_of(store)
    ledger.commit(stage, WEIGHTS, outcome="ok", files=files, started_at=utc_now(), seconds=0.0)
    return Item("untrained", {"weights": WEIGHTS, "dataset": datasets.load(ledger, "small").key})


def run(store: Path, spec: StageSpec, item: Item) -> Item:
    """Take the item through one stage in a plain loop."""
    (done,) = LocalRunner().run(
        [spec], [item], store_url=str(store), run_id="by-hand", on_event=lambda _event: None
    )
    return done


def contents(store: Path, commit: Commit) -> dict[str, bytes]:
    """The bytes of all outputs of a commit, by name."""
    ledger = ledger_of(store)
    return {output.name: ledger.store.get(output.key) for output in commit.outputs}
