"""Store in a folder of a POSIX file system, local or shared."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from storage.store import NotInStore, Store, StoreError, check_key, check_prefix

_CHUNK = 1 << 20
_SCRATCH = ".writing"  # unfinished writes lie here, on the same file system, out of every listing


class FolderStore(Store):
    """One file per object. Create is link(2), which fails on a name in use; put is rename(2)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self.url = self._folder.as_uri()

    def create(self, key: str, data: bytes) -> bool:
        """See Store.create; durable: file and folder are synced before it returns."""
        final = self._path(key)
        with _plain_errors(f"write {final}"):
            if os.path.lexists(final):
                _refuse_folder(final)
                return False
            with self._written(lambda file: file.write(data)) as part:
                _make_folder(final.parent)
                try:
                    final.hardlink_to(part)
                except FileExistsError:
                    _refuse_folder(final)
                    return False
                _sync_folder(final.parent)
        return True

    def put(self, key: str, data: bytes) -> None:
        """See Store.put."""
        self._replace(key, lambda file: file.write(data))

    def put_file(self, key: str, path: Path) -> None:
        """See Store.put_file."""
        with _plain_errors(f"read {path}"), path.open("rb") as original:
            self._replace(key, lambda file: shutil.copyfileobj(original, file, _CHUNK))

    def get(self, key: str) -> bytes:
        """See Store.get."""
        path = self._object(key)
        with _plain_errors(f"read {path}"):
            return path.read_bytes()

    def fetch(self, key: str, path: Path) -> None:
        """See Store.fetch."""
        original = self._object(key)
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        with _plain_errors(f"copy {original} to {path}"):
            try:
                shutil.copyfile(original, part)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)

    def exists(self, key: str) -> bool:
        """See Store.exists."""
        path = self._path(key)
        with _plain_errors(f"look for {path}"):
            return path.is_file()

    def list(self, prefix: str) -> list[str]:
        """See Store.list."""
        start = self._folder / check_prefix(prefix)
        keys = []
        for folder, subfolders, names in os.walk(start, onerror=_listing_error):
            subfolders[:] = [name for name in subfolders if not name.startswith(".")]
            inside = Path(folder).relative_to(self._folder)
            keys += [(inside / name).as_posix() for name in names if not name.startswith(".")]
        return sorted(keys)

    def delete(self, key: str) -> None:
        """See Store.delete."""
        path = self._path(key)
        with _plain_errors(f"delete {path}"):
            _refuse_folder(path)
            path.unlink(missing_ok=True)

    def uri(self, key: str) -> str:
        """See Store.uri."""
        return str(self._path(key))

    def _path(self, key: str) -> Path:
        return self._folder / check_key(key)

    def _object(self, key: str) -> Path:
        path = self._path(key)
        if not self.exists(key):
            raise NotInStore(f"{path} is not in the store")
        return path

    def _replace(self, key: str, write: Callable[[BinaryIO], object]) -> None:
        final = self._path(key)
        with _plain_errors(f"write {final}"), self._written(write) as part:
            _refuse_folder(final)
            _make_folder(final.parent)
            part.replace(final)
            _sync_folder(final.parent)

    @contextlib.contextmanager
    def _written(self, write: Callable[[BinaryIO], object]) -> Iterator[Path]:
        """A synced scratch file with the bytes, gone afterwards."""
        scratch = self._folder / _SCRATCH
        scratch.mkdir(parents=True, exist_ok=True)
        part = scratch / uuid.uuid4().hex
        try:
            with part.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            yield part
        finally:
            part.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """Make a folder with its parents, each entry synced, so that a crash cannot lose the path."""
    if folder.is_dir():
        return
    if os.path.lexists(folder) and not folder.is_dir():  # another writer may have made it by now
        raise StoreError(f"{folder} is an object, so no object can lie below it")
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise StoreError(f"{path} is a folder of other objects, so no object can have this key")


def _listing_error(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise StoreError(f"cannot list {error.filename}: {error.strerror}") from error


@contextlib.contextmanager
def _plain_errors(action: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot {action}: {error.strerror}") from error
