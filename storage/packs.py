"""Packs: copies of many commit records in one object, so that thousands are read at once.

packs/<stage>/<sha256[:32]>.jsonl.gz    records, one a line, in their own bytes

A pack proves nothing by itself. The listing of a stage's records names the MD5 of each one's bytes,
and only a line with that MD5 is taken for the record: one that was removed or made anew since is
not found in a pack. Packs may be removed at any time; then records are read one by one.
"""

import contextlib
import gzip
import hashlib
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from storage.identity import check_name
from storage.store import NotInStore, Store, StoreError

FEW = 20
"""So many records by themselves are no trouble; more are put into a pack."""

MOST = 250
"""Records of a pack. A killed process leaves fewer than that unpacked."""

_READERS = 16  # reading small objects is waiting for the network


class Records:
    """The commit records of one stage, as one listing shows them."""

    def __init__(self, store: Store, stage: str) -> None:
        self._store, self._stage = store, check_name(stage, "stage")
        self._folder = f"ledger/{stage}/"
        listed = store.list_md5(self._folder)
        self._md5 = {
            path.removeprefix(self._folder).removesuffix(".json"): md5
            for path, md5 in listed.items()
            if path.endswith(".json")
        }

    def read(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return the records of those items that have one, by key; packs what was read singly."""
        wanted = [key for key in keys if key in self._md5]
        packed = self._packed(wanted) if len(wanted) > FEW else {}
        single = [key for key in wanted if key not in packed]
        with ThreadPoolExecutor(_READERS) as readers:
            read = zip(single, readers.map(self._single, single), strict=True)
            loose = {key: data for key, data in read if data is not None}
        provable = [data for key, data in loose.items() if _md5(data) == self._md5[key]]
        _pack(self._store, self._stage, provable)
        return packed | loose

    def _single(self, key: str) -> bytes | None:
        try:
            return self._store.get(f"{self._folder}{key}.json")
        except NotInStore:  # removed since it was listed
            return None

    def _packed(self, keys: Sequence[str]) -> dict[str, bytes]:
        key_of = {md5: key for key in keys if (md5 := self._md5[key])}
        if not key_of:
            return {}
        packs = self._store.list(_folder(self._stage))
        found: dict[str, bytes] = {}
        with ThreadPoolExecutor(_READERS) as readers:
            for lines in readers.map(self._lines, packs):
                for line in lines:
                    if key := key_of.get(_md5(line)):
                        found[key] = line
        return found

    def _lines(self, path: str) -> list[bytes]:
        try:
            return gzip.decompress(self._store.get(path)).split(b"\n")
        except (NotInStore, OSError, EOFError, zlib.error):  # removed, or damaged
            return []


class Packer:
    """Packs the records that one process makes, as soon as there are enough of a stage."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = Lock()
        self._waiting: dict[str, list[bytes]] = {}

    def take(self, stage: str, record: bytes) -> None:
        """Note a new record; any thread may."""
        if not self._store.lists_md5:
            return
        with self._lock:
            waiting = self._waiting.setdefault(stage, [])
            waiting.append(record)
            if len(waiting) < MOST:
                return
            del self._waiting[stage]
        _pack(self._store, stage, waiting)

    def pack_all(self) -> None:
        """Pack what has been noted and not packed yet, unless it is little."""
        with self._lock:
            noted, self._waiting = self._waiting, {}
        for stage, records in noted.items():
            _pack(self._store, stage, records)


def _pack(store: Store, stage: str, records: Sequence[bytes]) -> None:
    """Write packs, where that is worth it; the same records again write nothing."""
    if len(records) <= FEW or not store.lists_md5:
        return
    ordered = sorted(records)
    with contextlib.suppress(StoreError):  # nothing is lost but time
        for start in range(0, len(ordered), MOST):
            lines = b"\n".join(ordered[start : start + MOST])
            name = hashlib.sha256(lines).hexdigest()[:32]
            store.create(f"{_folder(stage)}/{name}.jsonl.gz", gzip.compress(lines, 6, mtime=0))


def _folder(stage: str) -> str:
    return f"packs/{stage}"


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
