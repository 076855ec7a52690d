"""Ledger: what has been made, from what, and where its bytes lie. Readers see only what it lists.

payload/<stage>/<key[:2]>/<key>/<sha256[:12]>-<name>    bytes, under a name that holds their digest
ledger/<stage>/<key>.json                               commit record, created once, never changed
attempts/<stage>/<key>/<run>/<n>.json                   one marker each time a run began the item
refs/<kind>/<name>/<000001>.json                        numbered versions of a named value
packs/<stage>/...                                       copies of many records (storage/packs.py)
"""

import datetime
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from storage.identity import JSON, canonical_json, check_name, digest_file
from storage.packs import Packer, Records
from storage.store import NotInStore, Store, StoreError

_PUBLISH_ATTEMPTS = 100


@dataclass(frozen=True)
class Output:
    """One payload object of a commit: name within the commit, store key, bytes, sha256 (hex)."""

    name: str
    key: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Commit:
    """One item's end at one stage. `parents` are ledger keys; `started_at` is UTC in ISO 8601."""

    stage: str
    key: str
    outcome: str
    reason: str
    outputs: tuple[Output, ...]
    counts: dict[str, int]
    parents: tuple[str, ...]
    info: dict[str, JSON]
    versions: dict[str, str]
    started_at: str
    seconds: float

    def output(self, name: str) -> Output:
        """The output of this name, or KeyError that says which there are."""
        for output in self.outputs:
            if output.name == name:
                return output
        names = ", ".join(output.name for output in self.outputs) or "none"
        raise KeyError(f"commit {self.stage}/{self.key} has no output {name!r}; it has: {names}")

    def to_json(self) -> dict[str, JSON]:
        """Plain values, from which `from_json` makes an equal commit."""
        value: dict[str, JSON] = json.loads(canonical_json(asdict(self)))
        return value

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Commit":
        """Inverse of to_json. Raises ValueError for anything else."""
        try:
            fields = dict(value)
            outputs = tuple(Output(**output) for output in fields.pop("outputs"))
            return Commit(outputs=outputs, parents=tuple(fields.pop("parents")), **fields)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is no commit record ({error})") from error


class Ledger:
    """Commits, attempts and named values in a store. Raises StoreError when the store fails."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._packer = Packer(store)

    def __reduce__(self) -> tuple[object, tuple[Store]]:
        return Ledger, (self.store,)

    def find(self, stage: str, key: str) -> Commit | None:
        """The commit of this item at this stage, if there is one."""
        record = _record_key(stage, key)
        data = self._get(record)
        return None if data is None else self._read_record(record, data)

    def expect(self, stage: str, key: str) -> Commit:
        """Return a commit that another one lists. Raises StoreError where the store has lost it."""
        commit = self.find(stage, key)
        if commit is None:
            raise StoreError(f"{self.store.url} lists {stage}/{key}, and lost it")
        return commit

    def committed(self, stage: str) -> set[str]:
        """Keys of all commits of a stage, by one listing."""
        folder = f"ledger/{check_name(stage, 'stage')}/"
        names = (path.removeprefix(folder) for path in self.store.list(folder))
        return {name.removesuffix(".json") for name in names if name.endswith(".json")}

    def find_all(self, stage: str, keys: Collection[str]) -> dict[str, Commit]:
        """The commits of those of many items that have one, by key: a listing and few reads."""
        records = Records(self.store, stage)
        read = records.read([check_name(key, "item key") for key in keys])
        return {key: self._read_record(_record_key(stage, key), data) for key, data in read.items()}

    def pack(self) -> None:
        """Pack what was committed here since the last time, so that `find_all` is quick.

        A ledger packs its commits by itself from time to time; this is for its end.
        """
        self._packer.pack_all()

    def commit(
        self,
        stage: str,
        key: str,
        *,
        outcome: str,
        reason: str = "",
        files: Mapping[str, Path] | None = None,
        counts: Mapping[str, int] | None = None,
        parents: Sequence[str] = (),
        info: Mapping[str, JSON] | None = None,
        versions: Mapping[str, str] | None = None,
        started_at: str,
        seconds: float,
    ) -> Commit:
        """Store the files, then create the record that makes them visible.

        A lost race returns the winner's record. Two attempts at one key whose bytes differ cannot
        harm each other, because payload names hold digests.
        """
        record = _record_key(stage, key)
        outputs = [self._store_file(stage, key, *file) for file in sorted((files or {}).items())]
        commit = Commit(
            stage=stage,
            key=key,
            outcome=outcome,
            reason=reason,
            outputs=tuple(outputs),
            counts=dict(counts or {}),
            parents=tuple(parents),
            info=dict(info or {}),
            versions=dict(versions or {}),
            started_at=started_at,
            seconds=seconds,
        )
        value = commit.to_json()
        data = canonical_json(value)
        if self.store.create(record, data):
            self._packer.take(stage, data)
            return Commit.from_json(value)
        winner = self.find(stage, key)
        if winner is None:
            raise StoreError(
                f"{self.store.uri(record)} was there and is gone: do not clean a store in use"
            )
        return winner

    def fetch(self, output: Output, folder: Path) -> Path:
        """Copy an output into a folder under its name; StoreError when its bytes have changed."""
        path = folder / output.name
        self.store.fetch(output.key, path)
        size, sha256 = path.stat().st_size, digest_file(path)
        if (size, sha256) != (output.size, output.sha256):
            path.unlink()
            raise StoreError(
                f"{self.store.uri(output.key)} is damaged: {size} bytes with sha256 {sha256} "
                f"instead of {output.size} bytes with {output.sha256}"
            )
        return path

    def begin_attempt(self, stage: str, key: str, run_id: str) -> int:
        """Mark that this run begins this item; how many times it has begun it, this one included.

        Markers belong to a run, so that a command killed by its user does not use up the item's
        attempts in the next one.
        """
        check_name(stage, "stage"), check_name(key, "item key"), check_name(run_id, "run id")
        folder = f"attempts/{stage}/{key}/{run_id}"
        marker = canonical_json({"at": _utc_now()})
        number = 1
        while not self.store.create(f"{folder}/{number}.json", marker):
            number += 1
        return number

    def publish(self, kind: str, name: str, value: Mapping[str, JSON]) -> int:
        """Add a version of a named value; its number. The newest value again adds nothing."""
        data = canonical_json(dict(value))
        for _ in range(_PUBLISH_ATTEMPTS):
            newest = max(self.history(kind, name), default=0)
            if newest and self._get(_ref_key(kind, name, newest)) == data:
                return newest
            if self.store.create(_ref_key(kind, name, newest + 1), data):
                return newest + 1
        raise StoreError(f"{kind} {name!r} is being published by too many writers at once")

    def latest(self, kind: str, name: str) -> dict[str, JSON] | None:
        """The newest published value of this name, if there is one."""
        newest = max(self.history(kind, name), default=0)
        data = self._get(_ref_key(kind, name, newest)) if newest else None
        return None if data is None else _read_ref(data, kind, name)

    def history(self, kind: str, name: str) -> list[int]:
        """Numbers of all published versions, oldest first."""
        paths = self.store.list(f"{_kind_folder(kind)}/{check_name(name, 'name')}")
        return sorted(int(Path(path).stem) for path in paths if Path(path).stem.isdigit())

    def names(self, kind: str) -> list[str]:
        """All names published under this kind, sorted."""
        folder = f"{_kind_folder(kind)}/"
        return sorted({path.removeprefix(folder).split("/")[0] for path in self.store.list(folder)})

    def _get(self, key: str) -> bytes | None:
        try:
            return self.store.get(key)
        except NotInStore:
            return None

    def _read_record(self, record: str, data: bytes) -> Commit:
        try:
            return Commit.from_json(json.loads(data))
        except ValueError as error:
            raise StoreError(f"{self.store.uri(record)} cannot be read: {error}") from error

    def _store_file(self, stage: str, key: str, name: str, path: Path) -> Output:
        check_name(name, "output name")
        try:
            size, sha256 = path.stat().st_size, digest_file(path)
        except OSError as error:
            raise StoreError(f"output {name!r} of {stage}/{key} cannot be read: {error}") from error
        payload = f"payload/{stage}/{key[:2]}/{key}/{sha256[:12]}-{name}"
        self.store.put_file(payload, path)
        return Output(name, payload, size, sha256)


def _record_key(stage: str, key: str) -> str:
    return f"ledger/{check_name(stage, 'stage')}/{check_name(key, 'item key')}.json"


def _kind_folder(kind: str) -> str:
    return f"refs/{check_name(kind, 'kind')}"


def _ref_key(kind: str, name: str, number: int) -> str:
    return f"{_kind_folder(kind)}/{check_name(name, 'name')}/{number:06d}.json"


def _read_ref(data: bytes, kind: str, name: str) -> dict[str, JSON]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise StoreError(f"{kind} {name!r} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise StoreError(f"{kind} {name!r} is not a JSON object")
    return value


def _utc_now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
