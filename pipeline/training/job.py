"""Training as a job: a dataset version and a recipe become an item of a published run."""

from dataclasses import asdict

from pipeline.dataset import DatasetVersion
from pipeline.errors import ConfigurationError, usable_name
from pipeline.faces.rows import read_faces
from pipeline.recipes import TrainRecipe
from pipeline.scratch import Scratch
from pipeline.stage import Item, chain_keys
from pipeline.training.runs import RUNS, TrainedRun
from storage.ledger import Ledger
from storage.tables import SchemaMismatch


def begin_training(
    ledger: Ledger, run: str, recipe: TrainRecipe, dataset_name: str, dataset: DatasetVersion
) -> tuple[TrainedRun, Item]:
    """Check that the recipe fits the dataset, publish the run, and return it with its item.

    The keys of its stages are known beforehand, so a run can be watched and rendered from while it
    goes on. Raises ConfigurationError in one sentence where dataset and network do not fit, or a
    table of the dataset lacks what training reads.
    """
    usable_name(run, "run")
    _check_fit(dataset_name, dataset, recipe)
    _check_tables(ledger, dataset_name, dataset)
    item = Item(id=run, inputs={"dataset": dataset.key}, places={"name": run})
    keys = chain_keys([spec.build() for spec in recipe.stages()], item)
    published = TrainedRun(run, recipe.name, dataset_name, dataset.key, keys)
    ledger.publish(RUNS, run, asdict(published))
    return published, item


def _check_fit(name: str, dataset: DatasetVersion, recipe: TrainRecipe) -> None:
    if not dataset.ok_films:
        raise ConfigurationError(f"dataset {name!r} has no usable film; see e3d status")
    kind, network = dataset.kind, recipe.export3d.network
    if kind.widths.expression != network.expression_dims:
        raise ConfigurationError(
            f"dataset {name!r} has {kind.widths.expression} expression coefficients "
            f"({kind.widths.face_model}); recipe {recipe.name!r} takes {network.expression_dims}"
        )
    if recipe.camera_mode is not None and kind.camera_mode != recipe.camera_mode:
        raise ConfigurationError(
            f"dataset {name!r} has cameras {kind.camera_mode} (recipe {kind.recipe!r}); recipe "
            f"{recipe.name!r} is for cameras {recipe.camera_mode}"
        )


def _check_tables(ledger: Ledger, name: str, dataset: DatasetVersion) -> None:
    """Read the tables of one film: all were made by the same stages, so they are alike."""
    film = dataset.ok_films[0]
    scratch = Scratch()
    try:
        with scratch.item_folder() as folder:
            faces = ledger.expect("face3d", film.keys["face3d"])
            read_faces(ledger, faces, dataset.kind.widths, folder)
    except SchemaMismatch as error:
        raise ConfigurationError(
            f"dataset {name!r} cannot be trained on, run e3d preprocess again: {error}"
        ) from error
    finally:
        scratch.close()
