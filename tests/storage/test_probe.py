"""The probe tells stores that keep create-only from those that do not, and cleans up."""

from collections.abc import Callable

import pytest

from storage.folder import FolderStore
from storage.probe import probe_create_only
from storage.store import Store, StoreError


def test_a_store_that_keeps_its_word(store: Store) -> None:
    result = probe_create_only(store)
    assert result.honours_create
    assert "left over" not in result.detail
    assert store.list("") == []


def _overwriting(store: FolderStore) -> Callable[[str, bytes], bool]:
    def create(key: str, data: bytes) -> bool:
        store.put(key, data)
        return True

    return create


def _overwriting_but_denying_it(store: FolderStore) -> Callable[[str, bytes], bool]:
    def create(key: str, data: bytes) -> bool:
        new = not store.exists(key)
        store.put(key, data)
        return new

    return create


@pytest.mark.parametrize("fault", [_overwriting, _overwriting_but_denying_it])
def test_a_store_that_overwrites_is_found_out(folder_store, monkeypatch, fault) -> None:
    monkeypatch.setattr(folder_store, "create", fault(folder_store))
    result = probe_create_only(folder_store)
    assert not result.honours_create
    assert folder_store.url in result.detail
    assert folder_store.list("") == []


def test_a_store_that_cannot_be_written_is_an_error(tmp_path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot write"):
        probe_create_only(FolderStore(tmp_path / "file"))


def test_a_store_that_forbids_deletion_still_passes(folder_store, monkeypatch) -> None:
    def refuse(key: str) -> None:
        raise StoreError("deletion is not allowed")

    monkeypatch.setattr(folder_store, "delete", refuse)
    result = probe_create_only(folder_store)
    assert result.honours_create
    assert "left over: deletion is not allowed" in result.detail
