"""A training that workers share: what it asks for, and what the stage makes of their work."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_dataset import NAME

from pipeline import dataset as datasets
from pipeline.errors import ConfigurationError
from pipeline.recipes import TRAIN, TrainRecipe, train_recipe
from pipeline.runners.contract import RunError
from pipeline.runners.local import LocalRunner
from pipeline.stage import Item, Resources, chain_keys
from pipeline.stages.training_workers import SharedTraining
from pipeline.training.job import begin_training
from storage.ledger import Ledger
from storage.store import open_store

RUN = Item(id="run", inputs={"dataset": "0" * 64})


def generator(recipe: TrainRecipe) -> SharedTraining:
    stage = recipe.stages()[-1].build()
    assert isinstance(stage, SharedTraining)
    return stage


def test_the_number_of_workers_changes_no_key() -> None:
    recipe = train_recipe("export3d_test")
    keys, others = (
        chain_keys([spec.build() for spec in one.stages()], RUN)
        for one in (recipe, recipe.with_workers(2))
    )
    assert keys == others


def test_the_stage_leaves_the_hardware_to_its_workers() -> None:
    alone = generator(train_recipe("export3d_256").with_gpus(1))
    shared = generator(train_recipe("export3d_256").with_workers(8).with_gpus(1))
    assert alone.resources == alone.each == shared.each == Resources(8, 1, 6)
    assert shared.resources == Resources(cpus=0, gpus=0, memory_gib=1)
    assert (alone.workers, shared.workers) == (1, 8)


@pytest.mark.parametrize("name", TRAIN)
def test_memory_is_asked_for_with_the_frames_that_are_kept(name: str) -> None:
    recipe = train_recipe(name)
    clebs, export3d = (spec.build() for spec in recipe.stages())
    assert clebs.resources.memory_gib == 2 + recipe.clebs.training.cache_gib
    assert export3d.resources.memory_gib == 4 + recipe.export3d.training.cache_gib


def test_workers_that_could_not_share_are_refused() -> None:
    recipe = train_recipe("export3d_256")
    with pytest.raises(ConfigurationError, match=r"^3 workers cannot share the 8 pairs of a step"):
        recipe.with_workers(3)
    with pytest.raises(ConfigurationError, match=r"^2 workers with 0\.5 GPU each would share"):
        recipe.with_workers(2).with_gpus(0.5)
    assert recipe.with_gpus(0.5).export3d.gpus == 0.5


def trained(store: Path, recipe: TrainRecipe) -> Item:
    ledger = Ledger(open_store(str(store)))
    _, item = begin_training(ledger, "tiny", recipe, NAME, datasets.load(ledger, NAME))
    (done,) = LocalRunner().run(
        recipe.stages(), [item], store_url=str(store), run_id="test", on_event=lambda _: None
    )
    return done


def test_the_result_is_the_leaders(
    own_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = train_recipe("export3d_test").with_steps(3)
    alone = trained(Path(shutil.copytree(own_store, tmp_path / "alone")), recipe)
    asked: dict[str, Any] = {}

    def in_this_process(part: Callable[..., None], **options: Any) -> None:
        asked.update(options)
        # Without a process group it does the whole batch.
        part(0, options["report"], options["should_stop"])

    monkeypatch.setattr("pipeline.runners.together.run_together", in_this_process)
    shared = trained(own_store, recipe.with_workers(2))
    assert (asked["workers"], asked["each"].memory_gib) == (2, 6)
    commit, other = alone.commits["export3d"], shared.commits["export3d"]
    assert commit.outputs == other.outputs
    assert (commit.counts, commit.info) == (other.counts, other.info)


def test_a_worker_that_dies_ends_the_run_in_one_sentence(
    own_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(part: Callable[..., None], **options: Any) -> None:
        raise RunError("worker 1 of the training died")

    monkeypatch.setattr("pipeline.runners.together.run_together", dies)
    ended = trained(own_store, train_recipe("export3d_test").with_steps(3).with_workers(2)).ended
    assert ended is not None
    assert (ended.stage, ended.outcome, ended.reason) == ("export3d", "crashed", "workers_failed")
    assert ended.detail == (
        "worker 1 of the training died; the same command goes on from the newest checkpoint"
    )
