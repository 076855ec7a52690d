"""Scratch folders that do not outlive their process, even when it is killed.

Each process that needs one has a folder `e3d-scratch-*` with a lock file beside it, in E3D_SCRATCH
or the system's temporary folder. The kernel gives the lock back when the process ends in any way,
so a folder whose lock is free is a left-over. Process numbers would not do: containers that share a
scratch volume do not share them.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "e3d-scratch-"


class Scratch:
    """This process's own scratch folder; making it removes those of dead processes."""

    def __init__(self, root: Path | None = None) -> None:
        root = root or scratch_root()
        sweep(root)
        self.folder, self._lock = _make_locked(root)

    @contextmanager
    def item_folder(self) -> Iterator[Path]:
        """An empty folder, removed with its content afterwards."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Remove the folder."""
        _remove(self.folder, self._lock)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for a while. Unlike tempfile's it does not outlive a process that is killed."""
    scratch = Scratch()
    try:
        yield scratch.folder
    finally:
        scratch.close()


def scratch_root() -> Path:
    """Folder of all scratch folders: E3D_SCRATCH, else the system's temporary folder."""
    root = Path(os.environ.get("E3D_SCRATCH") or tempfile.gettempdir())
    root.mkdir(parents=True, exist_ok=True)
    return root


def sweep(root: Path) -> None:
    """Remove the scratch folders of processes that have ended without doing so."""
    for path in root.glob(f"{_PREFIX}*.lock"):
        lock = _try_lock(path)
        if lock is not None:
            _remove(path.with_suffix(""), lock)


def _make_locked(root: Path) -> tuple[Path, int]:
    while True:
        descriptor, name = tempfile.mkstemp(prefix=_PREFIX, suffix=".lock", dir=root)
        os.close(descriptor)
        lock = _try_lock(Path(name))
        if lock is not None:  # else another process has taken it for a left-over in between
            folder = Path(name).with_suffix("")
            folder.mkdir(mode=0o700)
            return folder, lock


def _try_lock(path: Path) -> int | None:
    """Descriptor that holds the lock, or None when it is held, gone, or somebody else's."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(lock).st_ino:
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)
    return None


def _remove(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)
    os.close(lock)
