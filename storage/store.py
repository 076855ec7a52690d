"""Object store: bytes under keys, in a folder or in an S3 bucket, behind one small interface."""

import os
import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

_KEY = re.compile(r"[A-Za-z0-9._=/-]+")
_MAX_KEY_BYTES = 900  # S3 allows 1024 with the store's own prefix


class StoreError(Exception):
    """The store cannot do its work: one sentence for the operator, with no credential in it."""


class NotInStore(StoreError):  # noqa: N818  named after the state, not after a mistake
    """There is no object under this key."""


class Store(ABC):
    """Bytes under relative posix keys. Writes are atomic: a reader sees the whole object or none.

    `url` opens the same store in another process; a store is pickled as its url. Every method
    raises StoreError when the store cannot be reached or refuses, and ValueError for a bad key.
    """

    url: str
    lists_md5: ClassVar[bool] = False
    """Whether a listing can tell the MD5 of objects, which proves what is in them unread."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return open_store, (self.url,)

    @abstractmethod
    def create(self, key: str, data: bytes) -> bool:
        """Write a new object durably; False, and nothing written, when the key exists already."""

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing one that is there."""

    @abstractmethod
    def put_file(self, key: str, path: Path) -> None:
        """Write an object from a file, replacing one that is there."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """Bytes of an object, or NotInStore."""

    @abstractmethod
    def fetch(self, key: str, path: Path) -> None:
        """Copy an object to a local file, which appears whole or not at all; or NotInStore."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Whether there is an object under exactly this key."""

    @abstractmethod
    def list(self, prefix: str) -> list[str]:
        """All keys below the folder-like `prefix` ("" for all), sorted, listed afresh each time."""

    def list_md5(self, prefix: str) -> dict[str, str | None]:
        """As `list`, with the MD5 (hex) of each object's bytes; None where that is not known."""
        return dict.fromkeys(self.list(prefix))

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; a key that is not there is no error. For probes and clean-up alone."""

    @abstractmethod
    def uri(self, key: str) -> str:
        """Where the object lies, for people."""


def check_key(key: str) -> str:
    """The key itself, or ValueError: relative posix path of letters, digits and `._=-`, no `..`."""
    parts = key.split("/")
    if not _KEY.fullmatch(key) or any(part in {"", ".", ".."} for part in parts):
        raise ValueError(
            f"store key {key!r} is not a relative path of letters, digits and the signs . _ = - /"
        )
    if len(key) > _MAX_KEY_BYTES:
        raise ValueError(f"store key of {len(key)} characters is longer than {_MAX_KEY_BYTES}")
    if any(part.startswith(".") for part in parts):
        raise ValueError(
            f"store key {key!r} has a part that begins with a dot: such names are hidden"
        )
    return key


def check_prefix(prefix: str) -> str:
    """The prefix without its final slash, checked like a key; "" means the whole store."""
    folder = prefix.removesuffix("/")
    return check_key(folder) if folder else ""


def open_store(url: str) -> Store:
    """Open a folder (`/path`, `file:///path`) or a bucket (`s3://bucket/prefix`).

    Credentials, region and endpoint of S3 come from the usual AWS variables (AWS_ENDPOINT_URL_S3 or
    AWS_ENDPOINT_URL for other servers than Amazon's), never from the url. Opening asks nothing of
    the network: the first use does. Raises StoreError for a url of another kind.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3":
        from storage.s3 import S3Store  # noqa: PLC0415  s3fs costs half a second that folders need not pay

        return S3Store(url)
    from storage.folder import FolderStore  # noqa: PLC0415  folder.py imports this module

    if parts.scheme == "file":
        if parts.netloc not in {"", "localhost"}:
            raise StoreError(f"store {url!r} names another machine; write file:///path")
        return FolderStore(Path(unquote(parts.path)))
    if "://" in url or not url:
        raise StoreError(f"store {url!r} is neither a folder, file:///path nor s3://bucket/prefix")
    return FolderStore(Path(os.path.expanduser(url)))  # noqa: PTH111  "~" alone, no other change
