"""Films as a user names them: found, identified by content, and brought where they can be read."""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import fsspec

from pipeline.errors import ConfigurationError
from pipeline.stage import Ended, Item, Outcome

_BLOCK_BYTES = 1 << 22
_READERS = 4  # films are read from one disk or network: more would only take turns


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

    A folder stands for the files in it (not below it), hidden ones left out.
    Raises ConfigurationError for a path that does not exist, and for no films at all.
    """
    places: list[str] = []
    for one in given:
        if "://" in one:
            places.append(one)
            continue
        path = Path(one).expanduser()
        if path.is_dir():
            inside = [p for p in sorted(path.iterdir()) if p.is_file() and p.name[0] != "."]
            places.extend(str(p.absolute()) for p in inside)
        elif path.exists():
            places.append(str(path.absolute()))
        else:
            raise ConfigurationError(f"there is no film or folder {one!r}")
    if not places:
        raise ConfigurationError(f"no films in {', '.join(map(repr, given)) or 'an empty list'}")
    return places


def identify(place: str) -> FilmFile:
    """Read a film once and return its digest and size; one that cannot be read says why."""
    name = place.rstrip("/").rsplit("/", 1)[-1]
    hasher, size = sha256(), 0
    try:
        with fsspec.open(place, "rb") as film:
            while block := film.read(_BLOCK_BYTES):
                hasher.update(block)
                size += len(block)
    except OSError as error:
        trouble = error.strerror or type(error).__name__
        return FilmFile(place, name, sha256(place.encode()).hexdigest(), 0, trouble)
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

    Raises OSError where it has become unreadable since it was identified.
    """
    if "://" not in place:
        return Path(place)
    folder.mkdir(exist_ok=True)
    copy = folder / "film"
    with fsspec.open(place, "rb") as film, copy.open("wb") as out:
        shutil.copyfileobj(film, out, _BLOCK_BYTES)
    return copy
