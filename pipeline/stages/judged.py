"""What stages that look at a trained network share: the weights and the data their item names.

Item inputs: "weights", the key of a commit with Export3D weights (of a run's end or of a
checkpoint), and "dataset", the key of a dataset version.
"""

from typing import Any

from model.export3d.network import Export3D
from pipeline import dataset as datasets
from pipeline.dataset import DatasetVersion
from pipeline.errors import ConfigurationError
from pipeline.stage import Work
from pipeline.training.runs import WEIGHT_STAGES, load_network, training_card
from storage.ledger import Commit


def judged_network(work: Work) -> Export3D:
    """Return the network that the item names, in eval mode on the CPU.

    Raises ConfigurationError where the store has no such weights.
    """
    folder = work.folder / "weights"
    folder.mkdir()
    return load_network(work.ledger, _weights(work), folder)


def judged_card(work: Work) -> dict[str, Any]:
    """Return what the weights that the item names say of their training."""
    return training_card(work.ledger, _weights(work))


def _weights(work: Work) -> Commit:
    key = str(work.item.inputs["weights"])
    found = (work.ledger.find(stage, key) for stage in WEIGHT_STAGES)
    commit = next((commit for commit in found if commit is not None), None)
    if commit is None:
        raise ConfigurationError(f"there are no weights {key} in {work.ledger.store.url}")
    return commit


def judged_dataset(work: Work) -> DatasetVersion:
    """Return the dataset version that the item names. Raises ConfigurationError."""
    return datasets.load_key(work.ledger, str(work.item.inputs["dataset"]))
