"""Who a dataset shows, over all of its films, and the meshes of each person.

Meshes come film by film; of a person at most a few hundred stay in memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import DatasetVersion, FilmEntry
from pipeline.errors import ConfigurationError
from pipeline.faces.rows import FRAMES
from pipeline.scratch import Scratch
from pipeline.stages.crop import CROPS
from pipeline.stages.face_stretches import stretches
from pipeline.stages.landmarks import LANDMARKS, TRACKS
from preprocess.people.persons import joined
from storage.ledger import Ledger
from storage.schemas import FaceWidths, frames_schema, tracks_schema
from storage.tables import read_rows, read_table

Array = NDArray[np.float64]
Report = Callable[[str], None]

_STEP_S = 0.08
"""12.5 frames a second: neighbours in time say the same twice."""
_MAX_FRAMES = 400
"""Of one person, so that a long film does not outweigh the others."""
_DOUBTFUL = 0.05
"""Cosine; two persons whose likeness is nearer than this to the limit are told."""
Frame = tuple[str, int]


@dataclass(frozen=True, eq=False)
class FilmPerson:
    """One person of one film: the frames to be taken, by clip and tick, in order of time.

    embeddings_ND has a row for each of the person's tracks that has one.
    """

    film: FilmEntry
    number: int
    frames: tuple[Frame, ...]
    embeddings_ND: Array


@dataclass(frozen=True, eq=False)
class Cast:
    """The persons of a dataset, each as a list of its appearances; `doubts` are sentences."""

    persons: tuple[tuple[FilmPerson, ...], ...]
    doubts: tuple[str, ...]


def cast_of(ledger: Ledger, dataset: DatasetVersion, same_person: float, report: Report) -> Cast:
    """Find the persons with frames that are ok, joined over films where they are alike.

    `same_person` is the mean cosine of embeddings from which on two persons of different films are
    one. Without embeddings each film's persons are its own.
    """
    found: list[FilmPerson] = []
    scratch = Scratch()
    try:
        for film in dataset.ok_films:
            with scratch.item_folder() as folder:
                found += _film_persons(ledger, film, dataset.kind.widths, folder)
    finally:
        scratch.close()
    report(f"{len(dataset.ok_films)} films show {len(found)} persons, film by film")
    likeness_NN = _likeness(found)
    groups = joined(likeness_NN, same_person)
    persons = [tuple(found[index] for index in group) for group in groups]
    return Cast(
        tuple(_thinned(person) for person in persons),
        tuple(_doubts(found, likeness_NN, groups, same_person)),
    )


def meshes_of(ledger: Ledger, cast: Cast, report: Report) -> list[list[Array]]:
    """Read the meshes of a cast: of each person an array [T,478,3] in film px for each clip.

    Raises ConfigurationError where the dataset has landmarks without a mesh.
    """
    films = {each.film.source_id: each.film for person in cast.persons for each in person}
    clips: dict[str, Array] = {}
    scratch = Scratch()
    try:
        for number, (source_id, film) in enumerate(sorted(films.items()), 1):
            wanted: dict[str, set[int]] = {}
            for person in cast.persons:
                for each in person:
                    if each.film.source_id == source_id:
                        for clip_id, tick in each.frames:
                            wanted.setdefault(clip_id, set()).add(tick)
            with scratch.item_folder() as folder:
                clips |= _film_meshes(ledger, film, wanted, folder)
            taken = sum(map(len, wanted.values()))
            report(f"film {number} of {len(films)}: {taken} frames of {film.name}")
    finally:
        scratch.close()
    return [
        [clips[clip_id] for each in person for clip_id in dict(each.frames)]
        for person in cast.persons
    ]


def _film_persons(
    ledger: Ledger, film: FilmEntry, widths: FaceWidths, folder: Path
) -> list[FilmPerson]:
    """Return the persons of a film, by number, with their frames that are ok, sampled in time."""
    frames: dict[int, list[Frame]] = {}
    due_s: dict[str, float] = {}
    columns = ("person", "clip_id", "frame_index", "pts_s", "outcome")
    faces = ledger.fetch(ledger.expect("face3d", film.keys["face3d"]).output(FRAMES), folder)
    for row in read_rows(faces, frames_schema(widths), columns):
        clip_id = row["clip_id"]
        if row["outcome"] == "ok" and row["pts_s"] >= due_s.get(clip_id, -np.inf):
            frames.setdefault(row["person"], []).append((clip_id, row["frame_index"]))
            due_s[clip_id] = row["pts_s"] + _STEP_S - 1e-3
    embeddings: dict[int, list[Array]] = {}
    tracks = ledger.fetch(ledger.expect("landmarks", film.keys["landmarks"]).output(TRACKS), folder)
    for track in read_table(tracks, tracks_schema()).to_pylist():
        if track["embedding"] is not None:
            embeddings.setdefault(track["person"], []).append(np.asarray(track["embedding"]))
    return [
        FilmPerson(film, number, tuple(frames[number]), np.array(embeddings.get(number, [])))
        for number in sorted(frames)
    ]


def _film_meshes(
    ledger: Ledger, film: FilmEntry, wanted: dict[str, set[int]], folder: Path
) -> dict[str, Array]:
    """Return the wanted meshes of a film by clip; the table is read piece by piece."""
    landmarks = ledger.fetch(
        ledger.expect("landmarks", film.keys["landmarks"]).output(LANDMARKS), folder
    )
    crop = ledger.expect("crop", film.keys["crop"])
    found: dict[str, Array] = {}
    for stretch in stretches(landmarks, ledger.fetch(crop.output(CROPS), folder), crop):
        if stretch.clip_id is None or stretch.clip_id not in wanted:
            continue
        ticks = wanted[stretch.clip_id]
        meshes = [row["mesh"] for row in stretch.landmarks if row["frame_index"] in ticks]
        if any(mesh is None for mesh in meshes):
            raise ConfigurationError(
                f"the dataset has no meshes of {film.name}: a face model is learned from those of "
                "landmarks mediapipe"
            )
        found[stretch.clip_id] = np.asarray(meshes, np.float64).reshape(len(meshes), -1, 3)
    return found


def _likeness(found: Sequence[FilmPerson]) -> Array:
    """Mean cosine [N,N] over pairs of tracks; nan where an embedding lacks, -inf in one film."""
    likeness_NN = np.full((len(found), len(found)), np.nan)
    for a, one in enumerate(found):
        for b, other in enumerate(found):
            if one.film.source_id == other.film.source_id:
                likeness_NN[a, b] = -np.inf
            elif len(one.embeddings_ND) and len(other.embeddings_ND):
                likeness_NN[a, b] = (one.embeddings_ND @ other.embeddings_ND.T).mean()
    return likeness_NN


def _doubts(
    found: Sequence[FilmPerson],
    likeness_NN: Array,
    groups: Sequence[Sequence[int]],
    same_person: float,
) -> list[str]:
    """Say where persons of different films may be one and are taken as two, or the reverse."""
    said = []
    if np.isnan(likeness_NN).any():
        said.append(
            "some tracks have no embedding (see the recipe), so somebody who is in several films "
            "may count as several persons, and numbers on persons left out are too good then"
        )
    group_of = {index: number for number, group in enumerate(groups) for index in group}
    for a, b in combinations(range(len(found)), 2):
        likeness = likeness_NN[a, b]
        if abs(likeness - same_person) < _DOUBTFUL:
            taken = "one" if group_of[a] == group_of[b] else "two"
            said.append(f"{_name(found[a])} and {_name(found[b])} are alike by {likeness:.2f}: "
                        f"taken as {taken}")  # fmt: skip
    return said


def _name(person: FilmPerson) -> str:
    return f"person {person.number} of {person.film.name}"


def _thinned(person: Sequence[FilmPerson]) -> tuple[FilmPerson, ...]:
    """Take at most _MAX_FRAMES frames, evenly over all appearances."""
    total = sum(len(each.frames) for each in person)
    kept = np.unique(np.linspace(0, total - 1, min(total, _MAX_FRAMES)).round().astype(int))
    thinned, first = [], 0
    for each in person:
        own = kept[(kept >= first) & (kept < first + len(each.frames))] - first
        frames = tuple(each.frames[index] for index in own)
        thinned.append(FilmPerson(each.film, each.number, frames, each.embeddings_ND))
        first += len(each.frames)
    return tuple(thinned)
