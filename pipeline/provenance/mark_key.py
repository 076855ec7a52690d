"""The secret of the invisible mark, from configuration or from a file made on this machine."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from model.inference.invisible_mark import MarkKey
from pipeline.errors import ConfigurationError
from pipeline.provenance.private_file import secret_of

MARK_KEY_FILE = "E3D_MARK_KEY_FILE"
"""Names a file with the secret: 16 bytes or more, the same on every machine that renders."""

_OWN = "invisible-mark.key"
_SECRET_BYTES = 32


def mark_key(home: Path, environment: Mapping[str, str] = os.environ) -> MarkKey:
    """Return the configured key, else the one of `home`, made where it lacks.

    Raises ConfigurationError for a file that cannot be read, or is too short.
    """
    if named := environment.get(MARK_KEY_FILE, ""):
        return _configured(Path(named))
    return MarkKey(secret_of(home / _OWN, lambda: secrets.token_bytes(_SECRET_BYTES)))


def known_mark_key(home: Path, environment: Mapping[str, str] = os.environ) -> MarkKey | None:
    """Return the key as `mark_key` does, but make none; None where there is none yet."""
    if not environment.get(MARK_KEY_FILE) and not (home / _OWN).exists():
        return None
    return mark_key(home, environment)


def _configured(path: Path) -> MarkKey:
    try:
        return MarkKey(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"{MARK_KEY_FILE} names {str(path)!r}, which cannot be read: {error.strerror}"
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"{MARK_KEY_FILE} names {str(path)!r}: {error}") from error
