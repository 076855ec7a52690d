"""What `e3d status` is told: names, outcomes and progress, from the ledger alone."""

import json
from pathlib import Path

import pytest

from pipeline import dataset as datasets
from pipeline.errors import ConfigurationError
from pipeline.recipes import train_recipe
from pipeline.status import of_name, overview
from pipeline.training.job import begin_training
from storage.ledger import Ledger
from storage.store import open_store


@pytest.fixture
def ledger(own_store: Path) -> Ledger:
    return Ledger(open_store(str(own_store)))


def test_an_empty_store_has_no_names(tmp_path: Path) -> None:
    ledger = Ledger(open_store(str(tmp_path)))
    assert overview(ledger) == {"datasets": [], "runs": [], "jobs": []}
    with pytest.raises(ConfigurationError, match=r"nothing named 'x'.*there is: nothing"):
        of_name(ledger, "x")


def test_a_dataset_is_told_film_by_film(ledger: Ledger) -> None:
    told = of_name(ledger, "small")["datasets"]
    version = datasets.load(ledger, "small")
    assert (told["key"], told["versions"], told["recipe"]) == (version.key, 1, "demo")
    assert told["outcomes"] == {"ok": 2}
    assert {film["name"] for film in told["films"]} == {"man.mp4", "woman.mp4"}
    assert all(film["counts"]["ok"] > 25 for film in told["films"])
    json.dumps(told)


def test_a_run_that_has_just_begun_is_told_as_such(ledger: Ledger) -> None:
    version = datasets.load(ledger, "small")
    run, _ = begin_training(ledger, "first", train_recipe("export3d_test"), "small", version)
    assert overview(ledger) == {"datasets": ["small"], "runs": ["first"], "jobs": []}
    told = of_name(ledger, "first")["runs"]
    assert (told["dataset"], told["dataset_key"]) == ("small", version.key)
    assert told["stages"] == {
        stage: {"complete": False, "checkpoint": None} for stage in ("clebs", "export3d")
    }
    assert run.keys.keys() == told["stages"].keys()
    json.dumps(told)


def test_one_name_can_be_two_things(ledger: Ledger) -> None:
    version = datasets.load(ledger, "small")
    begin_training(ledger, "small", train_recipe("export3d_test"), "small", version)
    assert of_name(ledger, "small").keys() == {"datasets", "runs"}


@pytest.mark.parametrize("name", ["absent", "No Such Name", ""])
def test_an_unknown_name_is_answered_with_those_there_are(ledger: Ledger, name: str) -> None:
    with pytest.raises(ConfigurationError, match="there is: datasets small") as caught:
        of_name(ledger, name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("run", ["", "No Such Name", "a/b", "x" * 65])
def test_a_run_needs_a_usable_name(ledger: Ledger, run: str) -> None:
    version = datasets.load(ledger, "small")
    with pytest.raises(ConfigurationError, match="run"):
        begin_training(ledger, run, train_recipe("export3d_test"), "small", version)
    assert overview(ledger)["runs"] == []
