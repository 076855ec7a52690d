"""Training as a job: a dataset version and a recipe become an item of a published run."""

from dataclasses import asdict

from pipeline.dataset import DatasetVersion
from pipeline.errors import ConfigurationError, usable_name
from pipeline.recipes import TrainRecipe
from pipeline.stage import Item, chain_keys
from pipeline.trained import RUNS, TrainedRun
from storage.ledger import Ledger


def begin_training(
    ledger: Ledger, run: str, recipe: TrainRecipe, dataset_name: str, dataset: DatasetVersion
) -> tuple[TrainedRun, Item]:
    """Check that the recipe fits the dataset, publish the run, and return it with its item.

    The keys of its stages are known beforehand, so a run can be watched and rendered from while it
    goes on. Raises ConfigurationError in one sentence where dataset and network do not fit.
    """
    usable_name(run, "run")
    network = recipe.export3d.network
    widths = dataset.kind.widths
    if widths.expression != network.expression_dims:
        raise ConfigurationError(
            f"dataset {dataset_name!r} has {widths.expression} expression coefficients "
            f"({widths.face_model}); recipe {recipe.name!r} takes {network.expression_dims}"
        )
    if not dataset.ok_films:
        raise ConfigurationError(f"dataset {dataset_name!r} has no usable film; see e3d status")
    item = Item(id=run, inputs={"dataset": dataset.key}, places={"name": run})
    keys = chain_keys([spec.build() for spec in recipe.stages()], item)
    published = TrainedRun(run, recipe.name, dataset_name, dataset.key, keys)
    ledger.publish(RUNS, run, asdict(published))
    return published, item
