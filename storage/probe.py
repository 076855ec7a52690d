"""Find out whether a store keeps its word on create-only writes, before a job relies on it."""

import uuid
from dataclasses import dataclass

from storage.store import Store, StoreError


@dataclass(frozen=True)
class ProbeResult:
    """`honours_create` is False for a store that overwrites: two writers would lose commits."""

    honours_create: bool
    detail: str


def probe_create_only(store: Store) -> ProbeResult:
    """Create one new key twice: the first must win and the second must be refused. Cleans up.

    Raises StoreError when the store cannot be written at all.
    """
    key = f"probe/{uuid.uuid4().hex}"
    try:
        first = store.create(key, b"first")
        second = store.create(key, b"second")
        kept = store.get(key)
    finally:
        left_over = _remove(store, key)
    if first and not second and kept == b"first":
        return ProbeResult(True, f"the store refuses a second create of one key{left_over}")
    what = "overwrites an object on create" if second else "reports a first create as lost"
    return ProbeResult(
        False, f"{store.url} {what}, so several writers could lose commits{left_over}"
    )


def _remove(store: Store, key: str) -> str:
    try:
        store.delete(key)
    except StoreError as error:
        return f" (the probe object is left over: {error})"
    return ""
