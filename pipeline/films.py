"""Films as a user names them: found, identified by content, and brought where they can be read."""

import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
import fsspec
from botocore.exceptions import BotoCoreError

from pipeline.errors import ConfigurationError
from pipeline.stage import Ended, Item, Outcome, Result
from preprocess.media.errors import FilmReason, UnusableFilm

_BLOCK_BYTES = 1 << 22
_READERS = 4  # films are read from one disk or network: more would only take turns
_UNREADABLE = (OSError, BotoCoreError, aiohttp.ClientError, ImportError, ValueError)
_OF_THE_PLACE = {FilmReason.VANISHED, FilmReason.UNREADABLE}


@dataclass(frozen=True)
class FilmFile:
    """One film as given: where it lies, what people call it, and (unless unreadable) its digest."""

    place: str
    name: str
    sha256: str
    size: int
    trouble: str = ""
    """Why it cannot be read; the digest is then that of the place alone."""


def find_films(given: Sequence[str]) -> list[str]:
    """Return every film named by files, folders and URLs, in a stable order.

    A folder stands for the files in it (not below it), hidden ones left out; a URL that ends in a
    slash is a folder. Raises ConfigurationError for a place that does not exist or cannot be
    listed, and for no films at all.
    """
    places = [place for one in given for place in (_in_url if "://" in one else _in_path)(one)]
    if not places:
        raise ConfigurationError(f"no films in {', '.join(map(repr, given)) or 'an empty list'}")
    return places


def _in_path(given: str) -> list[str]:
    try:
        path = Path(given).expanduser() if given else None
        if path is not None and path.is_dir():
            inside = [p for p in sorted(path.iterdir()) if p.is_file() and p.name[0] != "."]
            return [str(p.absolute()) for p in inside]
        if path is not None and path.is_file():
            return [str(path.absolute())]
    except (OSError, RuntimeError) as error:  # RuntimeError: ~name of nobody
        raise ConfigurationError(f"{given!r} cannot be looked at: {_why(error)}") from error
    raise ConfigurationError(f"there is no film or folder {given!r}")


def _in_url(given: str) -> list[str]:
    try:
        system, root = fsspec.url_to_fs(given)
        if not given.endswith("/"):
            return [given]
        inside = [
            entry["name"] for entry in system.ls(root, detail=True) if entry["type"] == "file"
        ]
    except _UNREADABLE as error:
        raise ConfigurationError(f"{given!r} cannot be opened: {_why(error)}") from error
    names = {name.rsplit("/", 1)[-1]: name for name in sorted(inside)}
    return [
        system.unstrip_protocol(full) for name, full in names.items() if name and name[0] != "."
    ]


def identify(place: str) -> FilmFile:
    """Read a film once and return its digest and size; one that cannot be read says why."""
    name = _name_of(place)
    hasher, size = sha256(), 0
    try:
        with _opened(place) as film:
            while block := film.read(_BLOCK_BYTES):
                hasher.update(block)
                size += len(block)
    except _UNREADABLE as error:
        digest = sha256(os.fsencode(place)).hexdigest()
        return FilmFile(place, name, digest, 0, trouble=_why(error))
    return FilmFile(place, name, hasher.hexdigest(), size)


def film_item(film: FilmFile) -> Item:
    """Return the item that goes through the stages for a film."""
    ended = None
    if film.trouble:
        ended = Ended("identify", Outcome.FAILED, "unreadable", f"{film.name}: {film.trouble}")
    return Item(
        id=film.sha256[:32],
        inputs={"film_sha256": film.sha256},
        places={"film": film.place, "name": film.name, "bytes": film.size},
        ended=ended,
    )


def film_items(films: Sequence[FilmFile]) -> list[Item]:
    """Return one item for each different film; the same bytes under two names are one film."""
    items: dict[str, Item] = {}
    for film in films:
        items.setdefault(film.sha256, film_item(film))
    return list(items.values())


def identify_films(
    places: Sequence[str], report: Callable[[int, int], None] = lambda _done, _total: None
) -> list[Item]:
    """Read every film once for its digest; return one item for each different film."""
    films: list[FilmFile] = []
    with ThreadPoolExecutor(_READERS) as readers:
        for film in readers.map(identify, places):
            films.append(film)
            report(len(films), len(places))
    return film_items(films)


def local_film(place: str, folder: Path) -> Path:
    """Return a path at which the film can be read; a URL is copied into `folder` first.

    Raises UnusableFilm where a URL has come to name nothing since it was identified.
    """
    if "://" not in place:
        return Path(place)
    folder.mkdir(exist_ok=True)
    copy = folder / "film"
    try:
        with _opened(place) as film, copy.open("wb") as out:
            shutil.copyfileobj(film, out, _BLOCK_BYTES)
    except FileNotFoundError as error:
        raise UnusableFilm(FilmReason.VANISHED, "it is gone since it was listed") from error
    return copy


def unusable(found: UnusableFilm) -> Result:
    """Return what a stage says of a film that it cannot use.

    What is wrong with the place, and not with the bytes, counts as crashed: the next run must look
    again, while results are remembered by the bytes alone.
    """
    outcome = Outcome.CRASHED if found.reason in _OF_THE_PLACE else Outcome.FAILED
    return Result(outcome, str(found.reason), found.detail)


def _opened(place: str) -> Any:
    if "://" in place:
        return fsspec.open(place, "rb")
    path = Path(place)  # not for fsspec: it reads "::" in a name as a chain of file systems
    if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
        raise ValueError("it is not an ordinary file")
    return path.open("rb")


def _why(error: Exception) -> str:
    """Return the reason alone: the whole text may quote an address with a password in it."""
    if isinstance(error, OSError) and isinstance(error.errno, int):
        return os.strerror(error.errno)
    is_remote = isinstance(error, OSError | BotoCoreError | aiohttp.ClientError)
    return type(error).__name__ if is_remote else str(error)


def _name_of(place: str) -> str:
    """Return what people call a film: no query, which may hold a signature, and valid Unicode."""
    path = unquote(urlsplit(place).path) if "://" in place else place
    name = path.rstrip("/").rsplit("/", 1)[-1]
    return name.encode("utf-8", "replace").decode()
