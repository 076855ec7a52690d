"""Identity of content: a canonical JSON form of plain values, and sha256 over it or over a file."""

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

JSON = None | bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"]


class UnstableIdentity(TypeError):  # noqa: N818  named after the state of the value
    """A value has no form that is the same in every process; the message names where it sits."""


def canonical_json(value: object) -> bytes:
    """ASCII JSON with sorted keys and no spaces: equal values give equal bytes in every process.

    Allowed are None, bool, int, finite float, str, list, tuple (as a list) and dict with str keys.
    Everything else raises UnstableIdentity: a dataclass, enum, Path or array must be turned into
    plain values by its owner, who then decides what belongs to its identity. 1 and 1.0 differ.
    """
    _check(value, "value")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def plain(config: "DataclassInstance") -> dict[str, JSON]:
    """Return a dataclass of plain values, string enums and further such dataclasses as JSON."""
    values: dict[str, JSON] = json.loads(json.dumps(dataclasses.asdict(config), allow_nan=False))
    return values


def digest(value: object) -> str:
    """sha256 (64 hex digits) of the canonical JSON form."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def digest_file(path: Path) -> str:
    """sha256 (64 hex digits) of a file's bytes. Raises OSError when it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_name(name: str, what: str) -> str:
    """The name itself when it may stand in keys and paths, else ValueError that calls it `what`."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{what} {name!r} must be 1 to 64 of a-z, 0-9, '.', '_', '-', first a letter or digit"
        )
    return name


def _check(value: object, where: str) -> None:
    # Exact types: a str enum or an int subclass would serialise, but as whatever its class decides.
    if value is None or type(value) in {bool, int}:
        return
    if type(value) is str:
        if not _is_unicode(value):
            raise UnstableIdentity(
                f"{where} is text with half a surrogate pair, which has no UTF-8 form"
            )
    elif type(value) is float:
        if not math.isfinite(value):
            raise UnstableIdentity(f"{where} is {value}, which has no JSON form")
    elif isinstance(value, list | tuple) and type(value) in {list, tuple}:
        for index, element in enumerate(value):
            _check(element, f"{where}[{index}]")
    elif type(value) is dict:
        for key, element in value.items():
            if type(key) is not str or not _is_unicode(key):
                raise UnstableIdentity(f"{where} has the key {key!r}, which is not plain text")
            _check(element, f"{where}.{key}")
    else:
        raise UnstableIdentity(
            f"{where} is a {type(value).__qualname__}, which has no stable form: give plain values"
        )


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in text)
