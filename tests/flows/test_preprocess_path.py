"""Films in, a dataset out: what is computed, what is reused, and what becomes of bad films."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_dataset import NAME, RECIPE, STAGES, dataset_files, touched

from flows.preprocess import preprocess_films
from flows.server import PrefectServer
from pipeline import dataset as datasets
from pipeline.errors import ConfigurationError
from pipeline.recipes import PREPROCESS, preprocess_recipe
from preprocess.crop import CropConfig
from storage.ledger import Ledger
from storage.store import open_store
from tests.flows.command import Ended, e3d
from tests.flows.conftest import MAN, SHOWN_WOMAN, MixedRun

BAD = {
    "film.mp4": ("ingest", "failed", "not_media"),
    "empty.mp4": ("ingest", "failed", "empty"),
    "landscape.mp4": ("landmarks", "filtered", "no_face"),
}

Run = Callable[..., Ended]


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the start of a Ray fail."""

    def connected(_address: str | None) -> Any:
        raise AssertionError("Ray was started")

    monkeypatch.setattr("pipeline.runners.embedded.connected", connected)


@pytest.fixture(autouse=True)
def _server(prefect_api: PrefectServer) -> None:
    pass


def run(store: Path, *films: Path, recipe: str = RECIPE, ray: str | None = "none") -> Any:
    return preprocess_films([str(film) for film in films], str(store), NAME, recipe, ray)


def keys(store: Path) -> dict[str, dict[str, str]]:
    """Keys of the newest version's films by name and stage."""
    version = datasets.load(Ledger(open_store(str(store))), NAME)
    return {film.name: film.keys for film in version.films}


@pytest.mark.usefixtures("no_ray")
def test_a_second_run_computes_nothing_and_starts_no_ray(
    own_store: Path, short_man: Path, short_woman: Path
) -> None:
    before = dataset_files(own_store)
    result = run(own_store, short_woman, short_man, ray=None)
    assert (result["computed"], result["reused"]) == (0, 8)
    assert result["outcomes"] == {"ok": 2}
    assert dataset_files(own_store) == before
    assert Ledger(open_store(str(own_store))).history("datasets", NAME) == [1]


@pytest.mark.usefixtures("no_ray")
def test_a_film_that_is_not_there_yet_does_start_ray(
    own_store: Path, short_man: Path, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match="Ray was started"):
        run(own_store, touched(short_man, tmp_path / "man.mp4"), ray=None)


def test_a_touched_film_is_recomputed_alone(
    own_store: Path, short_man: Path, short_woman: Path, tmp_path: Path
) -> None:
    before = keys(own_store)
    result = run(own_store, touched(short_man, tmp_path / "man.mp4"), short_woman)
    assert (result["computed"], result["reused"]) == (4, 4)
    after = keys(own_store)
    assert after["woman.mp4"] == before["woman.mp4"]
    assert all(after["man.mp4"][stage] != before["man.mp4"][stage] for stage in STAGES)
    ledger = Ledger(open_store(str(own_store)))
    assert ledger.history("datasets", NAME) == [1, 2]
    old, new = (ledger.find("face3d", found["man.mp4"]["face3d"]) for found in (before, after))
    assert old is not None
    assert new is not None
    assert new.counts == old.counts


def test_another_crop_recomputes_what_depends_on_it(
    own_store: Path, short_man: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo, crop = preprocess_recipe(RECIPE), CropConfig(size_px=128)
    smaller = replace(
        demo, crop=replace(demo.crop, crop=crop), face3d=replace(demo.face3d, crop=crop)
    )
    monkeypatch.setitem(PREPROCESS, "smaller", lambda: smaller)
    before = keys(own_store)["man.mp4"]
    result = run(own_store, short_man, recipe="smaller")
    assert (result["computed"], result["reused"]) == (2, 2)
    after = keys(own_store)["man.mp4"]
    assert {stage for stage in STAGES if after[stage] != before[stage]} == {"crop", "face3d"}


def test_bad_films_are_rows_beside_good_ones(mixed_run: MixedRun) -> None:
    result = mixed_run.ended.result
    assert result["outcomes"] == {"failed": 2, "filtered": 1, "ok": 2}
    films = {film["name"]: film for film in result["films"]}
    assert films.keys() == {MAN, SHOWN_WOMAN, *BAD}
    for name, ended in BAD.items():
        film = films[name]
        assert (film["stage"], film["outcome"], film["reason"]) == ended
        assert film["detail"]
    assert result["computed"] == 2 * 4 + 2 * 1 + 2


def test_status_tells_the_outcomes_of_bad_films(mixed_run: MixedRun, e3d_here: Run) -> None:
    ended = e3d_here("status", "mixed", "--json", "--store", mixed_run.store)
    assert ended.code == 0
    told = ended.result["datasets"]
    films = {film["name"]: film for film in told["films"]}
    assert {
        name: (film["stage"], film["outcome"], film["reason"])
        for name, film in films.items()
        if film["outcome"] != "ok"
    } == BAD
    plain = e3d_here("status", "mixed", "--store", mixed_run.store).out
    assert "reason not_media" in plain


def test_good_films_are_the_same_beside_bad_ones_and_on_ray(
    mixed_run: MixedRun, small_store: Path
) -> None:
    alone, beside = dataset_files(small_store), dataset_files(mixed_run.store, "mixed")
    good = {key: data for key, data in alone.items() if key[1] != "dataset"}
    assert len({film for film, _, _ in good}) == 2
    assert {key: beside.get(key) for key in good} == good


def test_the_command_run_again_says_that_there_was_nothing_to_do(
    mixed_run: MixedRun, e3d_here: Run, no_ray: None
) -> None:
    again = e3d_here(*mixed_run.words, mixed_run.folder)
    assert again.code == 0
    computed = again.result.pop("computed")
    first = mixed_run.ended.result
    assert (computed, again.result["key"]) == (0, first["key"])
    words = [word for word in mixed_run.words if word != "--json"]
    assert "nothing to compute" in e3d_here(*words, mixed_run.folder).out


def test_only_bad_films_end_with_code_3(tmp_path: Path, e3d_here: Run) -> None:
    film = tmp_path / "film.mp4"
    film.write_text("This is no film.")
    words = ["preprocess", film, "--store", tmp_path / "store", "--dataset", "bad"]
    ended = e3d_here(*words, "--ray", "none")
    assert ended.code == 3
    assert ended.out.startswith("failed")
    assert "film.mp4" in ended.out
    assert "Traceback" not in ended.err


def test_more_failures_than_allowed_end_with_code_3(mixed_run: MixedRun, e3d_here: Run) -> None:
    words = [*mixed_run.words, mixed_run.folder, "--ray", "none", "--max-failures"]
    assert [e3d_here(*words, allowed).code for allowed in (2, 3)] == [3, 0]


def test_a_place_that_does_not_exist_ends_with_code_2_and_one_sentence(tmp_path: Path) -> None:
    missing = tmp_path / "no such film.mp4"
    ended = e3d("preprocess", missing, "--store", tmp_path / "store", "--dataset", "none")
    assert ended.code == 2
    assert ended.sentence == f"there is no film or folder {str(missing)!r}"
    assert "Traceback" not in ended.err
    assert ended.out == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset": "No Such Name"}, "dataset 'No Such Name' must be"),
        ({"recipe": "nonsense"}, "recipe is 'nonsense'; allowed is default, paper, demo"),
        ({"films": []}, "no films in an empty list"),
    ],
)
def test_a_mistake_is_one_sentence(
    changes: dict[str, Any], said: str, tmp_path: Path, short_man: Path
) -> None:
    given = {"films": [str(short_man)], "store": str(tmp_path), "dataset": "d", "recipe": RECIPE}
    with pytest.raises(ConfigurationError, match=said) as caught:
        preprocess_films(**(given | changes), ray_address="none")
    assert "\n" not in str(caught.value)


def test_a_dry_run_tells_and_does_nothing(
    own_store: Path, short_man: Path, tmp_path: Path, e3d_here: Run
) -> None:
    other = touched(short_man, tmp_path / "other.mp4")
    listed = Ledger(open_store(str(own_store))).store.list("")
    words = ["preprocess", short_man, other, "--store", own_store, "--dataset", NAME]
    ended = e3d_here(*words, "--recipe", RECIPE, "--dry-run", "--json")
    assert ended.result == {"films": 2, "to_compute": 1, "pending": ["other.mp4"]}
    assert Ledger(open_store(str(own_store))).store.list("") == listed
