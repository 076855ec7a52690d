"""Secrets on this machine: files that their owner alone can read, each made once."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import ConfigurationError


def secret_of(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return a secret file's bytes; where there is no such file `make` gives them (mode 0600).

    Of several that come at once one makes it, and all get the same. Raises ConfigurationError where
    it can be neither read nor made.
    """
    try:
        if not path.exists():
            _create(path, make())
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read or made: {error.strerror}") from error


def _create(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(part)
    except FileExistsError:
        pass  # somebody was faster: theirs stands
    finally:
        Path(part).unlink()
