"""The contract of Store, held by every kind of store."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.store import NotInStore, Store, StoreError, check_key, open_store


def test_create_writes_once_and_never_again(store: Store) -> None:
    assert store.create("a/b/record.json", b"first") is True
    assert store.create("a/b/record.json", b"second") is False
    assert store.get("a/b/record.json") == b"first"


def test_put_replaces(store: Store) -> None:
    store.put("x/y", b"first")
    store.put("x/y", b"")
    assert store.get("x/y") == b""


def test_files_go_in_and_out_unchanged(store: Store, tmp_path: Path) -> None:
    original = tmp_path / "original.bin"
    original.write_bytes(bytes(range(256)) * 5000)
    store.put_file("payload/clip.mp4", original)
    copy = tmp_path / "out" / "copy.bin"
    copy.parent.mkdir()
    store.fetch("payload/clip.mp4", copy)
    assert copy.read_bytes() == original.read_bytes()
    assert [path.name for path in copy.parent.iterdir()] == ["copy.bin"]


def test_what_is_not_there_is_said_plainly(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotInStore, match="missing"):
        store.get("some/missing")
    with pytest.raises(NotInStore, match="missing"):
        store.fetch("some/missing", tmp_path / "copy")
    assert not list(tmp_path.glob("*copy*"))
    with pytest.raises(StoreError, match=r"no-such\.bin"):
        store.put_file("some/key", tmp_path / "no-such.bin")
    assert not store.exists("some/key")


def test_exists_means_an_object_under_exactly_this_key(store: Store) -> None:
    store.put("films/one", b"1")
    assert store.exists("films/one")
    assert not store.exists("films")
    assert not store.exists("films/on")
    assert not store.exists("films/one-more")


def test_list_is_recursive_sorted_and_fresh(store: Store) -> None:
    assert store.list("ledger") == []
    for key in ("ledger/crop/b.json", "ledger/crop/a.json", "ledger-old/x", "ledger/decode/c.json"):
        store.put(key, b"{}")
    everything = ["ledger-old/x", "ledger/crop/a.json", "ledger/crop/b.json"]
    assert store.list("ledger/crop/") == store.list("ledger/crop") == everything[1:]
    assert store.list("") == [*everything, "ledger/decode/c.json"]
    assert store.list("ledger/crop/a.json") == []
    assert store.create("ledger/crop/c.json", b"{}")
    assert store.list("ledger/crop")[-1] == "ledger/crop/c.json"


def test_delete_removes_one_object_and_is_calm_about_none(store: Store) -> None:
    store.put("a/one", b"1")
    store.put("a/two", b"2")
    store.delete("a/one")
    store.delete("a/one")
    assert store.list("a") == ["a/two"]
    assert store.create("a/one", b"again")


def test_of_many_creators_exactly_one_wins_with_its_own_bytes(store: Store) -> None:
    store.exists("warm")
    start = threading.Barrier(8)

    def create(number: int) -> bool:
        start.wait(30)
        return store.create("race/key", b"%d" % number)

    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(create, range(8)))
        assert won.count(True) == 1
        assert store.get("race/key") == b"%d" % won.index(True)
        store.delete("race/key")


def test_a_pickled_store_opens_the_same_place(store: Store) -> None:
    store.put("a/key", b"value")
    again = pickle.loads(pickle.dumps(store))
    assert again.get("a/key") == b"value"
    assert again.url == store.url
    assert open_store(store.url).get("a/key") == b"value"


def test_uri_shows_people_the_place(store: Store) -> None:
    assert store.uri("a/key").endswith("/a/key")
    assert store.uri("a/key").startswith(store.url.removeprefix("file://"))


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../b", "./a", "a b", "a\n", "ä", "a?b", ".hidden/x"]
)
def test_unusable_keys_are_refused_by_every_method(folder_store: Store, key: str) -> None:
    for use in (folder_store.get, folder_store.exists, folder_store.delete, folder_store.uri):
        with pytest.raises(ValueError, match="store key"):
            use(key)
    with pytest.raises(ValueError, match="store key"):
        folder_store.create(key, b"")


@given(st.text(max_size=40))
@example("a/..")
@example("a" * 1000)
def test_an_accepted_key_stays_inside_the_store(key: str) -> None:
    try:
        check_key(key)
    except ValueError:
        return
    inside = Path("/store") / key
    assert inside.as_posix() == f"/store/{key}"
    assert ".." not in inside.parts
    assert key.isascii()
    assert key.isprintable()


@given(
    st.lists(
        st.from_regex(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]{0,20}", fullmatch=True),
        min_size=1,
        max_size=8,
    )
)
def test_plain_paths_are_accepted(parts: list[str]) -> None:
    key = "/".join(parts)
    assert check_key(key) == key


@pytest.mark.parametrize("url", ["", "gs://bucket/x", "http://host/x", "file://other-host/x"])
def test_urls_of_other_kinds_are_refused(url: str) -> None:
    with pytest.raises(StoreError, match="store "):
        open_store(url)
