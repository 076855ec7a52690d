"""Training as a job: a dataset version and a recipe become an item of a published run."""

from dataclasses import asdict

from model.training.holdout import Holdout
from pipeline.dataset import DatasetVersion, check_same_kind, load_key
from pipeline.errors import ConfigurationError, usable_name
from pipeline.faces.rows import read_faces
from pipeline.recipes import TrainRecipe, train_recipe
from pipeline.scratch import Scratch
from pipeline.stage import Item, chain_keys
from pipeline.training.runs import RUNS, TrainedRun, find_run, finished, training_card
from storage.identity import JSON, plain
from storage.ledger import Ledger
from storage.tables import SchemaMismatch


def begin_training(
    ledger: Ledger,
    run: str,
    recipe: TrainRecipe,
    dataset_name: str,
    dataset: DatasetVersion,
    start: str | None = None,
) -> tuple[TrainedRun, Item]:
    """Check that the recipe fits the dataset, publish the run, and return it with its item.

    `start` names a run that has come to its end, with whose weights this one begins; the recipe is
    then one `from_weights`. The keys of its stages are known beforehand, so a run can be watched
    and rendered from while it goes on. Raises ConfigurationError in one sentence where dataset and
    network do not fit, or a table of the dataset lacks what training reads.
    """
    usable_name(run, "run")
    _check_fit(dataset_name, dataset, recipe)
    _check_tables(ledger, dataset_name, dataset)
    inputs: dict[str, JSON] = {"dataset": dataset.key}
    known: list[str] = []
    if start is not None:
        begun, inputs["start"] = _start(ledger, run, start, recipe, dataset)
        known = [begun.dataset_key, *begun.known]
    item = Item(id=run, inputs=inputs, places={"name": run})
    keys = chain_keys([spec.build() for spec in recipe.stages()], item)
    published = TrainedRun(
        name=run,
        recipe=recipe.name,
        dataset=dataset_name,
        dataset_key=dataset.key,
        keys=keys,
        start=start,
        known=known,
        holdout=asdict(recipe.export3d.holdout),
    )
    ledger.publish(RUNS, run, asdict(published))
    return published, item


def kept_from_training(run: TrainedRun) -> Holdout:
    """Return which frames of its dataset the run has not trained on."""
    return Holdout(**run.holdout) if run.holdout else train_recipe(run.recipe).export3d.holdout


def _start(
    ledger: Ledger, run: str, start: str, recipe: TrainRecipe, dataset: DatasetVersion
) -> tuple[TrainedRun, str]:
    """Return the run to begin with and its weights' key; network, faces and held-out must fit."""
    if start == run:
        raise ConfigurationError(f"run {run!r} cannot begin with its own weights: name another run")
    begun = find_run(ledger, start)
    commit = finished(ledger, begun).get("export3d")
    if commit is None:
        raise ConfigurationError(
            f"run {start!r} has not come to its end yet: let `e3d train` go on until it has"
        )
    check_same_kind(load_key(ledger, begun.dataset_key), dataset)
    if training_card(ledger, commit)["network"] != plain(recipe.export3d.network):
        raise ConfigurationError(
            f"run {start!r} (recipe {begun.recipe!r}) has another network than recipe "
            f"{recipe.name!r}: its weights do not fit"
        )
    kept, keeps = kept_from_training(begun), recipe.export3d.holdout
    if keeps.tail_share and kept != keeps:
        raise ConfigurationError(
            f"run {start!r} has trained on frames that recipe {recipe.name!r} keeps for evaluation"
        )
    return begun, commit.key


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
