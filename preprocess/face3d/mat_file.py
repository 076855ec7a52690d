"""Arrays of numbers from MATLAB files of version 5 to 7.

scipy's reader ends the whole process at some damaged files, which would take a worker and all that
it holds; this one knows arrays of real numbers alone, and refuses whatever else it meets.

The format: 128 bytes of header, then elements of a type, a length and content. A variable is an
element made of flags, sizes, name and values, each an element filled up to 8 bytes; it may lie
inside a zlib stream. An element of up to 4 bytes can be packed into 8.
"""

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]

_HEADER = 128
_TAG = 8
_VARIABLE, _COMPRESSED = 14, 15
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
_STORED |= {12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4"}
_CLASSES |= {14: "i8", 15: "u8"}
_COMPLEX = 0x800
_NAME_WITHIN = 256  # bytes of a variable that hold its name; longer ones are not looked for


def read_mat(path: Path, names: Collection[str]) -> dict[str, Numbers]:
    """Read arrays by name, in the sizes and types that MATLAB shows.

    Raises OSError if the file cannot be read, ValueError (one sentence, names the file) if it is no
    such file, is damaged where it is read, lacks a name, or has something else than real numbers
    under it.
    """
    with path.open("rb") as file:
        try:
            found = _read(file, names)
        except (struct.error, zlib.error, ValueError) as error:
            raise ValueError(f"{path} cannot be read as a MATLAB file: {error}") from error
    for name in names:
        if name not in found:
            raise ValueError(f"{path} is not the file that was asked for: it lacks {name}")
    return found


def _read(file: BinaryIO, names: Collection[str]) -> dict[str, Numbers]:
    order = _byte_order(file.read(_HEADER))
    found = {}
    while tag := file.read(_TAG):
        kind, size = struct.unpack(f"{order}II", tag)
        content = file.read(size)
        if len(content) != size:
            raise ValueError("it ends in the middle of a variable")
        if kind == _COMPRESSED:
            kind, content = _unpack(content, order, names)
        if kind == _VARIABLE:
            name = _name(content, order)
            if name in names:
                found[name] = _array(name, content, order)
    return found


def _byte_order(header: bytes) -> str:
    order = {b"IM": "<", b"MI": ">"}.get(header[126:])
    if order is None:
        raise ValueError("its header is another")
    (version,) = struct.unpack(f"{order}H", header[124:126])
    if version != 0x100:
        raise ValueError("it is of another version; let MATLAB save it with -v7")
    return order


def _unpack(packed: bytes, order: str, names: Collection[str]) -> tuple[int, bytes]:
    """Type and content of the element in a zlib stream; no more than its head if not asked for."""
    start = zlib.decompressobj().decompress(packed, _NAME_WITHIN)
    kind, size = struct.unpack_from(f"{order}II", start)
    if kind != _VARIABLE or _name(start[_TAG:], order) not in names:
        return kind, start[_TAG:]
    return kind, zlib.decompressobj().decompress(packed, _TAG + size)[_TAG:]


def _name(content: bytes, order: str) -> str:
    parts = list(islice(_elements(content, order), 3))
    if len(parts) < 3:
        raise ValueError("a variable has no name")
    return parts[2][1].decode("latin-1")


def _array(name: str, content: bytes, order: str) -> Numbers:
    parts = list(islice(_elements(content, order), 4))
    flags, *_ = struct.unpack_from(f"{order}I", parts[0][1])
    if flags & 0xFF not in _CLASSES or flags & _COMPLEX:
        raise ValueError(f"{name} holds no numbers, or complex ones")
    if len(parts) < 4 or parts[3][0] not in _STORED:
        raise ValueError(f"{name} is damaged")
    sizes = [size for (size,) in struct.iter_unpack(f"{order}i", parts[1][1])]
    stored, values = np.dtype(order + _STORED[parts[3][0]]), parts[3][1]
    if min(sizes, default=-1) < 0 or math.prod(sizes) * stored.itemsize != len(values):
        raise ValueError(f"{name} has not as many numbers as it says")
    flat = np.frombuffer(values, stored) if values else np.empty(0, stored)
    return flat.astype(_CLASSES[flags & 0xFF]).reshape(sizes, order="F")


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Types and contents of the elements that a variable is made of, one after another."""
    at = 0
    while at < len(content):
        kind, size = struct.unpack_from(f"{order}II", content, at)
        begin = at + _TAG
        if kind >> 16:
            kind, size, begin = kind & 0xFFFF, kind >> 16, at + 4
        if begin + size > len(content) or (begin == at + 4 and size > 4):
            raise ValueError("a part of a variable is longer than the whole")
        yield kind, content[begin : begin + size]
        at = begin + size + -(begin + size) % 8
