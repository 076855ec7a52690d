"""Recipes: found by name, and each change of one moves exactly the keys that depend on it."""

import pickle
from dataclasses import replace

import pytest

from pipeline.errors import ConfigurationError
from pipeline.faces.backends import FaceNetworks
from pipeline.faces.models import FaceModelName
from pipeline.recipes import (
    ABLATIONS,
    PREPROCESS,
    TRAIN,
    PreprocessRecipe,
    preprocess_recipe,
    train_recipe,
)
from pipeline.stage import Item, chain_keys
from preprocess.crop import CropConfig
from preprocess.face3d.cameras import CameraMode
from preprocess.people.spans import SpanConfig
from preprocess.quality.scores import QualityConfig
from storage.identity import canonical_json

FILM = Item(id="film", inputs={"film_sha256": "0" * 64})
RUN = Item(id="run", inputs={"dataset": "0" * 64})


def changed_stages(one: PreprocessRecipe, other: PreprocessRecipe) -> set[str]:
    """Stages whose results the two recipes do not share."""
    keys, others = (
        chain_keys([spec.build() for spec in recipe.stages()], FILM) for recipe in (one, other)
    )
    assert keys.keys() == others.keys()
    return {stage for stage, key in keys.items() if others[stage] != key}


@pytest.mark.parametrize("name", [*PREPROCESS, *TRAIN, *ABLATIONS])
def test_a_recipe_carries_its_name_and_its_stages_travel(name: str) -> None:
    recipe = preprocess_recipe(name) if name in PREPROCESS else train_recipe(name)
    item = FILM if name in PREPROCESS else RUN
    assert recipe.name == name
    specs = recipe.stages()
    if name == "paper":  # the last stage's identity is that of files which the user has
        specs = specs[:-1]
    keys = chain_keys([spec.build() for spec in specs], item)
    sent = pickle.loads(pickle.dumps(specs))
    assert chain_keys([spec.build() for spec in sent], item) == keys
    for spec in specs:
        canonical_json(spec.build().identity())


@pytest.mark.parametrize("find", [preprocess_recipe, train_recipe])
def test_an_unknown_recipe_is_answered_with_those_there_are(find: object) -> None:
    known = PREPROCESS if find is preprocess_recipe else TRAIN | ABLATIONS
    assert callable(find)
    with pytest.raises(ConfigurationError) as caught:
        find("nonsense")
    assert str(caught.value) == f"recipe is 'nonsense'; allowed is {', '.join(known)}"


def test_a_change_recomputes_what_depends_on_it() -> None:
    demo = preprocess_recipe("demo")
    wider = replace(demo.crop, crop=CropConfig(size_px=128))
    longer = replace(demo.crop, spans=SpanConfig(min_frames=30))
    strict = replace(demo.landmarks, same_person=0.9)
    lenient = replace(demo.face3d, quality=QualityConfig(max_occlusion=1))
    assert changed_stages(demo, preprocess_recipe("demo")) == set()
    assert changed_stages(demo, replace(demo, name="renamed")) == set()
    assert changed_stages(demo, replace(demo, face3d=lenient)) == {"face3d"}
    assert changed_stages(demo, replace(demo, crop=wider)) == {"crop", "face3d"}
    assert changed_stages(demo, replace(demo, crop=longer)) == {"crop", "face3d"}
    assert changed_stages(demo, replace(demo, landmarks=strict)) == {"landmarks", "crop", "face3d"}
    ingest = replace(demo.ingest, fps=None)
    assert changed_stages(demo, replace(demo, ingest=ingest)) == {
        "ingest",
        "landmarks",
        "crop",
        "face3d",
    }


def test_default_and_demo_share_what_comes_before_the_landmarks() -> None:
    assert changed_stages(preprocess_recipe("default"), preprocess_recipe("demo")) == {
        "landmarks",
        "crop",
        "face3d",
    }


def test_dubbing_gives_what_a_trained_network_depends_on() -> None:
    dubbing, default = preprocess_recipe("dubbing").kind(), preprocess_recipe("default").kind()
    assert replace(dubbing, recipe="") == replace(default, recipe="")


@pytest.mark.parametrize("steps", [1, 2, 7, 20, 1000])
@pytest.mark.parametrize("name", TRAIN)
def test_steps_are_shared_by_the_phases_and_add_up(name: str, steps: int) -> None:
    recipe = train_recipe(name)
    planned = recipe.export3d.training
    training = recipe.with_steps(steps).export3d.training
    assert training.reconstruction_steps + training.adversarial_steps == steps
    share = planned.adversarial_steps / (planned.reconstruction_steps + planned.adversarial_steps)
    assert training.adversarial_steps == pytest.approx(share * steps, abs=0.5)
    assert recipe.with_steps(steps).clebs == recipe.clebs


def test_devices_change_no_key() -> None:
    recipe = train_recipe("export3d_test")
    with_gpus = recipe.with_gpus(1)
    keys, others = (
        chain_keys([spec.build() for spec in one.stages()], RUN) for one in (recipe, with_gpus)
    )
    assert keys == others
    assert [spec.build().resources.gpus for spec in with_gpus.stages()] == [1, 1]


def test_parts_that_do_not_fit_are_refused() -> None:
    demo = preprocess_recipe("demo")
    eg3d = replace(demo.face3d, camera_mode=CameraMode.EG3D_ORIG)
    with pytest.raises(ConfigurationError, match="eg3d_orig is only right for EG3D's own crop"):
        replace(demo, face3d=eg3d)
    five = replace(demo.landmarks, networks=FaceNetworks("insightface", ("scrfd",), None))
    with pytest.raises(ConfigurationError, match="mesh478 needs the mesh of landmarks mediapipe"):
        replace(demo, landmarks=five)
    bfm = replace(demo.face3d, face_model=FaceModelName.BFM)
    assert replace(demo, landmarks=five, face3d=bfm).face3d is bfm
    with pytest.raises(ConfigurationError, match="blazeface finds two"):
        FaceNetworks(landmarks="insightface")
    with pytest.raises(ConfigurationError, match="detectors is 'hog'; allowed is blazeface, yunet"):
        FaceNetworks(detectors=("hog",))


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_changes_the_network_alone(name: str) -> None:
    base = next(one for one in TRAIN if name.startswith(one))
    recipe, original = train_recipe(name), train_recipe(base)
    assert recipe.export3d.training == original.export3d.training
    assert recipe.export3d.network != original.export3d.network
    keys = chain_keys([spec.build() for spec in recipe.stages()], RUN)
    originals = chain_keys([spec.build() for spec in original.stages()], RUN)
    if recipe.export3d.network.expression == "clebs":
        assert keys["clebs"] == originals["clebs"]
    else:
        assert keys.keys() == {"export3d"}
    assert keys["export3d"] != originals["export3d"]
