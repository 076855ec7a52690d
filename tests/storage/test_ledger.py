"""The ledger: records made once, bytes checked, versions numbered, attempts counted."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from storage.identity import digest
from storage.ledger import Commit, Ledger
from storage.store import Store, StoreError

KEY = digest("an item")
WHEN = {"started_at": "2026-01-02T03:04:05.000+00:00", "seconds": 1.5}


@pytest.fixture
def ledger(folder_store: Store) -> Ledger:
    return Ledger(folder_store)


def _file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _commit(ledger: Ledger, folder: Path, data: bytes = b"film") -> Commit:
    return ledger.commit(
        "crop",
        KEY,
        outcome="ok",
        files={"clip.mp4": _file(folder, "made.tmp", data), "rows.json": _file(folder, "r", b"[]")},
        counts={"ok": 3, "no_face": 1},
        parents=[digest("film")],
        info={"fps": 25.0, "size": [256, 256], "note": None},
        versions={"ffmpeg": "8.1"},
        **WHEN,
    )


def test_a_commit_is_found_as_it_was_made(store: Store, tmp_path: Path) -> None:
    ledger = Ledger(store)
    assert ledger.find("crop", KEY) is None
    with pytest.raises(StoreError, match="lost it"):
        ledger.expect("crop", KEY)
    made = _commit(ledger, tmp_path)
    assert Ledger(store).find("crop", KEY) == made
    assert ledger.committed("crop") == {KEY}
    assert ledger.committed("decode") == set()
    assert made.counts == {"ok": 3, "no_face": 1}
    fetched = ledger.fetch(made.output("clip.mp4"), tmp_path)
    assert fetched == tmp_path / "clip.mp4"
    assert fetched.read_bytes() == b"film"


def test_a_second_commit_returns_the_first_and_harms_nothing(store: Store, tmp_path: Path) -> None:
    ledger = Ledger(store)
    first = _commit(ledger, tmp_path, b"first")
    assert _commit(ledger, tmp_path, b"second") == first
    assert ledger.fetch(first.output("clip.mp4"), tmp_path).read_bytes() == b"first"


def test_of_two_writers_both_see_one_winner(store: Store, tmp_path: Path) -> None:
    store.exists("warm")

    def commit(number: int) -> Commit:
        folder = tmp_path / str(number)
        folder.mkdir()
        return _commit(Ledger(store), folder, b"%d" % number)

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(commit, range(4)))
    assert all(commit == seen[0] for commit in seen)
    Ledger(store).fetch(seen[0].output("clip.mp4"), tmp_path)


def test_the_record_comes_after_the_bytes(ledger: Ledger, tmp_path: Path, monkeypatch) -> None:
    def fail(key: str, data: bytes) -> bool:
        raise StoreError("the network went")

    monkeypatch.setattr(ledger.store, "create", fail)
    with pytest.raises(StoreError, match="network"):
        _commit(ledger, tmp_path)
    assert ledger.committed("crop") == set()
    assert ledger.find("crop", KEY) is None
    assert len(ledger.store.list("payload")) == 2


def test_a_failed_item_needs_no_files(ledger: Ledger) -> None:
    made = ledger.commit("probe", KEY, outcome="failed", reason="no_video", **WHEN)
    assert ledger.find("probe", KEY) == made
    assert (made.outputs, made.counts, made.parents, made.info) == ((), {}, (), {})


@pytest.mark.parametrize("damage", [b"fil", b"fiLm", b"film "])
def test_changed_bytes_are_never_handed_out(ledger: Ledger, tmp_path: Path, damage: bytes) -> None:
    output = _commit(ledger, tmp_path).output("clip.mp4")
    ledger.store.put(output.key, damage)
    with pytest.raises(StoreError, match=r"clip\.mp4 is damaged"):
        ledger.fetch(output, tmp_path)
    assert not (tmp_path / "clip.mp4").exists()


def test_a_damaged_record_is_said_plainly(ledger: Ledger, tmp_path: Path) -> None:
    _commit(ledger, tmp_path)
    for damage in (b"", b"{", b"[]", b'{"stage":"crop"}'):
        ledger.store.put(f"ledger/crop/{KEY}.json", damage)
        with pytest.raises(StoreError, match="cannot be read"):
            ledger.find("crop", KEY)


def test_a_commit_goes_through_json_and_back(ledger: Ledger, tmp_path: Path) -> None:
    made = _commit(ledger, tmp_path)
    assert Commit.from_json(json.loads(json.dumps(made.to_json()))) == made
    with pytest.raises(ValueError, match="no commit record"):
        Commit.from_json({**made.to_json(), "surprise": 1})
    assert replace(made, reason="x") != made


def test_an_output_that_is_not_there_names_those_that_are(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match=r"no output 'film\.mkv'; it has: clip\.mp4, rows\.json"):
        _commit(ledger, tmp_path).output("film.mkv")


def test_names_that_do_not_fit_keys_are_refused(ledger: Ledger, tmp_path: Path) -> None:
    path = _file(tmp_path, "x", b"")
    for stage, key, name in (("../x", KEY, "a"), ("crop", "A B", "a"), ("crop", KEY, "../a")):
        with pytest.raises(ValueError, match="must be 1 to 64"):
            ledger.commit(stage, key, outcome="ok", files={name: path}, **WHEN)
    with pytest.raises(StoreError, match="output 'a' of crop"):
        ledger.commit("crop", KEY, outcome="ok", files={"a": tmp_path / "none"}, **WHEN)
    assert ledger.store.list("") == []


def test_attempts_are_counted_per_item_and_run(store: Store) -> None:
    ledger = Ledger(store)
    assert [ledger.begin_attempt("crop", KEY, "run-1") for _ in range(3)] == [1, 2, 3]
    assert Ledger(store).begin_attempt("crop", KEY, "run-1") == 4
    assert ledger.begin_attempt("crop", KEY, "run-2") == 1
    assert ledger.begin_attempt("decode", KEY, "run-1") == 1
    assert ledger.begin_attempt("crop", digest("other"), "run-1") == 1


def test_concurrent_attempts_all_count(store: Store) -> None:
    store.exists("warm")
    with ThreadPoolExecutor(4) as pool:
        begun = pool.map(lambda _: Ledger(store).begin_attempt("crop", KEY, "run"), range(4))
        assert sorted(begun) == [1, 2, 3, 4]


def test_published_values_are_numbered_and_only_changes_count(store: Store) -> None:
    ledger = Ledger(store)
    assert ledger.latest("dataset", "actors") is None
    assert ledger.history("dataset", "actors") == []
    assert ledger.publish("dataset", "actors", {"clips": 1, "of": "x"}) == 1
    assert ledger.publish("dataset", "actors", {"of": "x", "clips": 1}) == 1
    assert ledger.publish("dataset", "actors", {"clips": 2}) == 2
    assert ledger.publish("dataset", "actors", {"clips": 1, "of": "x"}) == 3
    assert ledger.publish("dataset", "actors-2", {}) == 1
    assert ledger.latest("dataset", "actors") == {"clips": 1, "of": "x"}
    assert ledger.history("dataset", "actors") == [1, 2, 3]
    assert ledger.names("dataset") == ["actors", "actors-2"]
    assert ledger.names("checkpoint") == []


def test_concurrent_publishers_lose_nothing(store: Store) -> None:
    store.exists("warm")

    def publish(number: int) -> int:
        return Ledger(store).publish("dataset", "actors", {"number": number})

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(publish, range(4))) == [1, 2, 3, 4]
