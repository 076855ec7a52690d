"""What only a store on a file system can get wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage.folder import FolderStore
from storage.store import StoreError, open_store


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_folder_is_opened_by_path_and_by_url(tmp_path: Path, form: str) -> None:
    store = open_store(form.format(tmp_path / "store"))
    store.put("a/key", b"value")
    assert (tmp_path / "store/a/key").read_bytes() == b"value"


def test_a_folder_with_a_strange_name_survives_its_own_url(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "Füße #1 100%")
    store.put("key", b"value")
    assert open_store(store.url).get("key") == b"value"


def test_opening_and_reading_make_no_folder(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    assert store.list("") == []
    assert not store.exists("a")
    assert not (tmp_path / "store").exists()


def test_a_key_that_is_a_folder_of_others_is_refused(folder_store: FolderStore) -> None:
    folder_store.put("a/b", b"1")
    for write in (folder_store.create, folder_store.put):
        with pytest.raises(StoreError, match="is a folder of other objects"):
            write("a", b"2")
    with pytest.raises(StoreError, match="is a folder of other objects"):
        folder_store.delete("a")
    assert folder_store.get("a/b") == b"1"


def test_a_key_below_an_object_is_refused(folder_store: FolderStore) -> None:
    folder_store.put("a", b"1")
    for write in (folder_store.create, folder_store.put):
        with pytest.raises(StoreError, match="no object can lie below it"):
            write("a/b/c", b"2")
    assert not folder_store.exists("a/b/c")


def test_unfinished_writes_are_never_listed_nor_left_behind(
    folder_store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    whole_link = Path.hardlink_to

    def link(final: Path, part: Path) -> None:
        seen.append((folder_store.list(""), part.read_bytes()))
        whole_link(final, part)

    monkeypatch.setattr(Path, "hardlink_to", link)
    assert folder_store.create("a/key", b"whole")
    assert seen == [([], b"whole")]
    everything = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert everything == [tmp_path / "store/a/key"]


def test_a_failed_write_leaves_nothing(
    folder_store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"cannot write .*a/key: No space left on device"):
        folder_store.create("a/key", b"whole")
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


def test_a_writer_killed_in_the_middle_leaves_no_object(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from storage.store import open_store\n"
        "os.fsync = lambda _: os.kill(os.getpid(), 9)\n"
        "open_store(sys.argv[1]).create('a/key', b'x' * 100000)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "store")], timeout=60, check=False
    )
    assert done.returncode == -9
    store = open_store(str(tmp_path / "store"))
    assert store.list("") == []
    assert store.create("a/key", b"again")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_said_plainly(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="Permission denied"):
        open_store(str(tmp_path / "store")).create("a", b"")


def test_a_store_that_is_a_file_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot write"):
        open_store(str(tmp_path / "store")).create("a", b"")


def test_a_folder_that_another_writer_makes_meanwhile_is_no_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, seen = open_store(str(tmp_path / "store")), os.path.lexists
    store.put("first", b"")

    def made_meanwhile(path: Path) -> bool:
        Path(path).mkdir(exist_ok=True)
        return seen(path)

    monkeypatch.setattr(os.path, "lexists", made_meanwhile)
    store.put("refs/a", b"1")
    assert store.get("refs/a") == b"1"
