"""A dataset that does not fit the network is refused in one sentence, before any work."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from model.training.holdout import Holdout
from pipeline import dataset as datasets
from pipeline.clock import utc_now
from pipeline.dataset import DatasetVersion
from pipeline.errors import ConfigurationError
from pipeline.recipes import TRAIN, train_recipe
from pipeline.stages.face3d import FRAMES
from pipeline.training.job import begin_training
from storage.identity import plain
from storage.ledger import Ledger
from storage.store import open_store

Change = Callable[[DatasetVersion], DatasetVersion]


def of_kind(**changes: object) -> Change:
    return lambda version: replace(version, kind=replace(version.kind, **changes))  # type: ignore[arg-type]


def with_widths(**changes: object) -> Change:
    return lambda version: of_kind(widths=replace(version.kind.widths, **changes))(version)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("recipe", "change", "sentence"),
    [
        (
            "export3d_128",
            of_kind(camera_mode="eg3d_orig", recipe="paper"),
            "dataset 'small' has cameras eg3d_orig (recipe 'paper'); recipe 'export3d_128' is for "
            "cameras exact",
        ),
        (
            "export3d_test",
            with_widths(expression=52, face_model="blendshapes"),
            "dataset 'small' has 52 expression coefficients (blendshapes); recipe 'export3d_test' "
            "takes 64",
        ),
        (
            "export3d_test",
            lambda version: replace(version, films=()),
            "dataset 'small' has no usable film; see e3d status",
        ),
    ],
)
def test_another_kind_of_data_is_refused(
    small_store: Path, recipe: str, change: Change, sentence: str
) -> None:
    ledger = Ledger(open_store(str(small_store)))
    version = change(datasets.load(ledger, "small"))
    with pytest.raises(ConfigurationError) as caught:
        begin_training(ledger, "first", train_recipe(recipe), "small", version)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("recipe", "of_start", "sentence"),
    [
        ("export3d_test", "export3d_test", "run 'first' has not come to its end yet"),
        ("export3d_test", "export3d_demo", "run 'first' (recipe 'export3d_demo') has another"),
        ("export3d_128", "export3d_128_all", "run 'first' has trained on frames that recipe"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    own_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recipe: str,
    of_start: str,
    sentence: str,
) -> None:
    everything = replace(train_recipe("export3d_128"), name="export3d_128_all")
    everything = replace(everything, export3d=replace(everything.export3d, holdout=Holdout()))
    monkeypatch.setitem(TRAIN, everything.name, lambda: everything)
    ledger = Ledger(open_store(str(own_store)))
    version = datasets.load(ledger, "small")
    started = train_recipe(of_start)
    first, _ = begin_training(ledger, "first", started, "small", version)
    if recipe != of_start:
        card = tmp_path / "card.json"
        card.write_text(json.dumps({"network": plain(started.export3d.network)}))
        ledger.commit(
            *["export3d", first.keys["export3d"]],
            outcome="ok",
            files={card.name: card},
            parents=[],
            started_at=utc_now(),
            seconds=0,
        )
    chosen = train_recipe(recipe).from_weights()
    with pytest.raises(ConfigurationError) as caught:
        begin_training(ledger, "further", chosen, "small", version, start="first")
    assert str(caught.value).startswith(sentence)
    assert "further" not in ledger.names("runs")


def test_a_table_without_a_column_is_refused_by_its_name(own_store: Path, tmp_path: Path) -> None:
    ledger = Ledger(open_store(str(own_store)))
    version = datasets.load(ledger, "small")
    film = version.ok_films[0]
    faces = ledger.expect("face3d", film.keys["face3d"])
    files = {output.name: ledger.fetch(output, tmp_path) for output in faces.outputs}
    pq.write_table(pq.read_table(files[FRAMES]).drop_columns(["camera"]), files[FRAMES])
    older = "0" * 64
    ledger.commit(
        "face3d", older, outcome="ok", files=files, parents=[], started_at=utc_now(), seconds=0
    )
    version = replace(version, films=(replace(film, keys={**film.keys, "face3d": older}),))
    with pytest.raises(ConfigurationError, match=r"'small' cannot be trained on.*camera") as caught:
        begin_training(ledger, "first", train_recipe("export3d_test"), "small", version)
    assert "\n" not in str(caught.value)
    assert "first" not in ledger.names("runs")
