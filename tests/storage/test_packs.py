"""Packs: many records with few requests, and never another record than the store has now."""

import pickle
from pathlib import Path

import pytest

from storage import packs
from storage.identity import digest
from storage.ledger import Commit, Ledger
from storage.s3 import S3Store
from storage.store import Store

STAGE = "crop"
WHEN = {"started_at": "2026-01-02T03:04:05.000+00:00", "seconds": 1.5}


@pytest.fixture(autouse=True)
def few_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "FEW", 3)
    monkeypatch.setattr(packs, "MOST", 4)


def made(ledger: Ledger, count: int, first: int = 0) -> dict[str, Commit]:
    """Commits that this ledger packs."""
    keys = [digest(number) for number in range(first, first + count)]
    return {key: ledger.commit(STAGE, key, outcome="ok", info={"of": key}, **WHEN) for key in keys}


def made_loosely(store: Store, count: int) -> dict[str, Commit]:
    """Commits of as many processes, none of which has enough for a pack."""
    commits: dict[str, Commit] = {}
    for number in range(count):
        commits |= made(Ledger(store), 1, first=number)
    return commits


def reads(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of all objects that are read from here on."""
    read: list[str] = []
    get = type(ledger.store).get

    def noted(store: Store, key: str) -> bytes:
        read.append(key)
        return get(store, key)

    monkeypatch.setattr(type(ledger.store), "get", noted)
    return read


def test_many_commits_are_found_as_one_by_one(store: Store) -> None:
    ledger = Ledger(store)
    commits = made(ledger, 12)
    asked = [*commits, digest("another")]
    for _ in range(2):
        assert ledger.find_all(STAGE, asked) == commits
    assert ledger.find_all(STAGE, []) == {}
    assert ledger.find_all("decode", asked) == {}
    for key, commit in commits.items():
        assert ledger.find(STAGE, key) == commit
    assert ledger.committed(STAGE) == set(commits)


def test_what_was_read_singly_is_read_together_the_next_time(
    moto_store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(moto_store)
    commits = made_loosely(moto_store, 9)
    assert moto_store.list("packs") == []
    ledger.find_all(STAGE, commits)
    read = reads(ledger, monkeypatch)
    assert ledger.find_all(STAGE, commits) == commits
    assert len(read) == 3  # packs of 4, 4 and 1
    assert all(key.startswith(f"packs/{STAGE}/") for key in read)


def test_a_ledger_packs_what_it_has_made(moto_store: S3Store, monkeypatch) -> None:
    ledger = Ledger(moto_store)
    commits = made(ledger, 9)
    assert len(moto_store.list("packs")) == 2
    ledger.pack()  # the ninth is not worth it
    assert len(moto_store.list("packs")) == 2
    read = reads(ledger, monkeypatch)
    assert ledger.find_all(STAGE, commits) == commits
    assert sorted(key.split("/")[0] for key in read) == ["ledger", "packs", "packs"]
    assert len(moto_store.list("packs")) == 2


def test_the_end_of_a_ledger_packs_the_rest_once(moto_store: S3Store, monkeypatch) -> None:
    monkeypatch.setattr(packs, "MOST", 100)
    ledger = Ledger(moto_store)
    commits = made(ledger, 5)
    assert moto_store.list("packs") == []
    ledger.pack()
    ledger.pack()
    assert len(moto_store.list("packs")) == 1
    assert ledger.find_all(STAGE, commits) == commits


def test_a_pickled_ledger_opens_the_same_store(folder_store: Store) -> None:
    ledger = pickle.loads(pickle.dumps(Ledger(folder_store)))
    assert made(ledger, 2) == Ledger(folder_store).find_all(STAGE, [digest(0), digest(1)])


def test_a_record_that_is_gone_or_made_anew_is_never_taken_from_a_pack(
    moto_store: S3Store,
) -> None:
    ledger = Ledger(moto_store)
    commits = made(ledger, 6)
    ledger.pack()
    gone, anew, *_ = commits
    for key in (gone, anew):
        moto_store.delete(f"ledger/{STAGE}/{key}.json")
    commits[anew] = ledger.commit(STAGE, anew, outcome="failed", reason="no_face", **WHEN)
    del commits[gone]
    assert ledger.find_all(STAGE, [gone, *commits]) == commits


@pytest.mark.parametrize("damage", [b"", b"no gzip", None])
def test_damaged_packs_are_no_packs(moto_store: S3Store, damage: bytes | None) -> None:
    ledger = Ledger(moto_store)
    commits = made(ledger, 6)
    ledger.pack()
    for key in moto_store.list("packs"):
        moto_store.put(key, moto_store.get(key)[:-20] if damage is None else damage)
    assert ledger.find_all(STAGE, commits) == commits


def test_a_server_whose_tags_are_no_md5_is_read_one_by_one(
    moto_store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(moto_store)
    commits = made(ledger, 6)
    ledger.pack()
    listed = moto_store.list_md5(f"ledger/{STAGE}")
    assert all(listed.values())
    for tag in (None, "0" * 32):
        told = dict.fromkeys(listed, tag)
        monkeypatch.setattr(S3Store, "list_md5", lambda *_, told=told: told)
        assert ledger.find_all(STAGE, commits) == commits


def test_who_may_only_read_finds_all(seaweed_store: Store, monkeypatch, tmp_path: Path) -> None:
    import servers

    commits = made_loosely(seaweed_store, 6)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", servers.READER_KEY)
    reader = Ledger(S3Store(seaweed_store.url))
    assert reader.find_all(STAGE, commits) == commits
    assert reader.store.list("packs") == []


def test_a_folder_needs_none(folder_store: Store) -> None:
    ledger = Ledger(folder_store)
    commits = made(ledger, 6)
    ledger.pack()
    assert ledger.find_all(STAGE, commits) == commits
    assert folder_store.list("packs") == []
