"""Dataset versions: told apart by what they hold, listed in tables, found by name."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import dataset as datasets
from pipeline.dataset import DatasetKind
from pipeline.errors import ConfigurationError
from pipeline.stage import Ended, Item, Outcome
from storage.ledger import Commit, Ledger
from storage.schemas import FaceWidths, outcomes_schema, sources_schema
from storage.store import open_store
from storage.tables import read_table

KIND = DatasetKind("demo", "exact", "0" * 64, FaceWidths("mesh478", 4, 64, 0, 0))
PROBED = {
    "container": "mp4",
    "codec": "h264",
    "width": 640,
    "height": 360,
    "fps": 30.0,
    "duration_s": 1.5,
    "has_audio": True,
    "frames_in": 45,
    "frames_out": 38,
}


def commit(stage: str, film: str, outcome: Outcome = Outcome.OK, reason: str = "") -> Commit:
    return Commit(
        stage=stage,
        key=f"{stage}-{film}",
        outcome=outcome,
        reason=reason,
        outputs=(),
        counts={"ok": 30, "no_face": 8},
        parents=(),
        info=dict(PROBED) if stage == "ingest" else {},
        versions={},
        started_at="2026-01-01T00:00:00.000+00:00",
        seconds=1.0,
    )


def item(film: str, *commits: Commit, ended: Ended | None = None) -> Item:
    found = Item(
        id=film * 32,
        inputs={"film_sha256": film * 64},
        places={"film": f"/films/{film}.mp4", "name": f"{film}.mp4", "bytes": 100},
        ended=ended,
    )
    for one in commits:
        found = found.after(one)
    return found


def good(film: str) -> Item:
    return item(film, *(commit(stage, film) for stage in ("ingest", "landmarks", "face3d")))


BAD = item("b", commit("ingest", "b", Outcome.FAILED, "not_media"))
UNREADABLE = item(
    "c", ended=Ended("identify", Outcome.FAILED, "unreadable", "c.mp4: Permission denied")
)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(open_store(str(tmp_path / "store")))


def test_the_order_of_films_does_not_matter(ledger: Ledger, tmp_path: Path) -> None:
    items = [good("a"), BAD, UNREADABLE]
    one = datasets.assemble(ledger, "one", KIND, items, "face3d")
    elsewhere = Ledger(open_store(str(tmp_path / "elsewhere")))
    other = datasets.assemble(elsewhere, "other", KIND, items[::-1], "face3d")
    assert one == other
    assert [film.source_id[0] for film in one.films] == ["a", "b", "c"]
    assert dataset_tables(ledger, "one") == dataset_tables(elsewhere, "other")


def dataset_tables(ledger: Ledger, name: str) -> dict[str, bytes]:
    made = ledger.find("dataset", datasets.load(ledger, name).key)
    assert made is not None
    return {output.name: ledger.store.get(output.key) for output in made.outputs}


def test_what_a_version_holds_makes_its_key(ledger: Ledger) -> None:
    def key(kind: DatasetKind, *items: Item) -> str:
        return datasets.assemble(ledger, "d", kind, items, "face3d").key

    fitted_anew = good("a").after(commit("face3d", "x"))
    keys = [
        key(KIND, good("a")),
        key(KIND, good("a"), BAD),
        key(KIND, good("d")),
        key(replace(KIND, camera_mode="eg3d_orig"), good("a")),
        key(KIND, fitted_anew),
    ]
    assert len(set(keys)) == len(keys)
    assert datasets.load(ledger, "d").key == keys[-1]
    assert ledger.history("datasets", "d") == [1, 2, 3, 4, 5]
    key(KIND, fitted_anew)
    assert ledger.history("datasets", "d") == [1, 2, 3, 4, 5]


def test_every_film_is_a_row_of_both_tables(ledger: Ledger, tmp_path: Path) -> None:
    crashed = item(
        "d",
        commit("ingest", "d"),
        ended=Ended("landmarks", Outcome.CRASHED, "worker_died", "thrice"),
    )
    version = datasets.assemble(ledger, "d", KIND, [good("a"), BAD, UNREADABLE, crashed], "face3d")
    made = ledger.find("dataset", version.key)
    assert made is not None
    assert made.counts == {"ok": 1, "failed": 2, "crashed": 1}
    sources = read_table(ledger.fetch(made.output("sources.parquet"), tmp_path), sources_schema())
    rows = sources.to_pylist()
    assert [row["outcome"] for row in rows] == ["ok", "failed", "failed", "crashed"]
    assert [row["reason"] for row in rows] == ["", "not_media", "unreadable", "worker_died"]
    assert {name: rows[0][name] for name in PROBED} == PROBED
    assert rows[2]["sha256"] is None
    assert rows[2]["width"] is None
    assert rows[3]["sha256"] == "d" * 64
    outcomes = read_table(
        ledger.fetch(made.output("outcomes.parquet"), tmp_path), outcomes_schema()
    ).to_pylist()
    assert [row["stage"] for row in outcomes] == ["face3d", "ingest", "identify", "landmarks"]
    assert dict(outcomes[0]["counts"]) == {"ok": 30, "no_face": 8}
    assert dict(outcomes[3]["counts"]) == {}
    assert outcomes[3]["detail"] == "thrice"


def test_a_version_is_read_as_it_was_written(ledger: Ledger) -> None:
    made = datasets.assemble(ledger, "d", KIND, [good("a"), BAD], "face3d")
    assert datasets.load(ledger, "d") == made
    assert datasets.load_key(ledger, made.key) == made
    assert [film.name for film in made.ok_films] == ["a.mp4"]
    assert made.ok_films[0].keys == {s: f"{s}-a" for s in ("ingest", "landmarks", "face3d")}


def test_names_that_begin_alike_are_two_datasets(ledger: Ledger) -> None:
    datasets.assemble(ledger, "d", KIND, [good("a")], "face3d")
    longer = datasets.assemble(ledger, "d2", KIND, [good("b")], "face3d")
    datasets.assemble(ledger, "d2", KIND, [good("c")], "face3d")
    assert datasets.load(ledger, "d").films[0].source_id[0] == "a"
    assert ledger.history("datasets", "d") == [1]
    assert longer.films[0].source_id[0] == "b"


@pytest.mark.parametrize("name", ["absent", "No Such Name", "", "../d"])
def test_an_unknown_name_is_answered_with_those_there_are(ledger: Ledger, name: str) -> None:
    datasets.assemble(ledger, "d", KIND, [good("a")], "face3d")
    with pytest.raises(ConfigurationError) as caught:
        datasets.load(ledger, name)
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)
    if name == "absent":
        assert str(caught.value).endswith("there is: d")


def test_damage_of_a_film_that_is_used_is_told(ledger: Ledger) -> None:
    hurt = commit("ingest", "a")
    hurt = replace(hurt, info={**hurt.info, "damage": "only the first 30 frames are good"})
    film = item("a", hurt, *(commit(stage, "a") for stage in ("landmarks", "face3d")))
    version = datasets.assemble(ledger, "hurt", KIND, [film], "face3d")
    assert version.ok_films[0].detail == "only the first 30 frames are good"
