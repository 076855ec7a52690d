"""The faces of a dataset's persons, each over all of its films, as arrays.

Shapes: N frames of one person, in the order of its films and of time.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import DatasetVersion, FilmEntry
from pipeline.faces.persons import Cast, FilmPerson, cast_of
from pipeline.faces.rows import FaceRows, read_faces
from pipeline.reports.pictures import spread
from pipeline.scratch import Scratch
from storage.ledger import Ledger, Output


@dataclass(frozen=True, eq=False)
class PersonFaces:
    """One person: frames that are ok, a few hundred at most, and the clips that show them by id."""

    name: str
    rows: FaceRows
    clips: Mapping[str, Output]


def cast_faces(
    ledger: Ledger,
    dataset: DatasetVersion,
    most: int,
    same_person: float,
    report: Callable[[int, int], None],
) -> tuple[list[PersonFaces], Cast]:
    """Read the faces of the persons of a dataset, joined over films as the face model joins them.

    Of more persons than `most` some are taken, evenly over the cast. Each has a name of its own,
    after the first film that shows it. `same_person` is the mean cosine of embeddings from which
    on two are one. `report` gets films read, and all to be read.
    """
    cast = cast_of(ledger, dataset, same_person, lambda _: None)
    persons = [cast.persons[index] for index in spread(len(cast.persons), most)]
    films = {each.film.source_id: each.film for person in persons for each in person}
    found: dict[tuple[str, int], PersonFaces] = {}
    scratch = Scratch()
    try:
        for number, film in enumerate(films.values(), 1):
            with scratch.item_folder() as folder:
                faces = ledger.expect("face3d", film.keys["face3d"])
                clips, rows = read_faces(ledger, faces, dataset.kind.widths, folder)
            keys = {str(clip["clip_id"]): str(clip["clip_key"]) for clip in clips}
            for each in (each for person in persons for each in person):
                if each.film.source_id == film.source_id:
                    found[film.source_id, each.number] = _faces(ledger, each, rows, keys)
            report(number, len(films))
    finally:
        scratch.close()
    names: Counter[str] = Counter()
    faces_of = []
    for person in persons:
        shown = [found[each.film.source_id, each.number] for each in person]
        names[shown[0].name] += 1
        faces_of.append(_joined(shown, names[shown[0].name]))
    return faces_of, cast


def rows_at(rows: FaceRows, taken: Sequence[int] | NDArray[np.int64]) -> FaceRows:
    """Return some rows, in the order asked for."""
    return FaceRows(**{name: values[taken] for name, values in vars(rows).items()})


def _faces(
    ledger: Ledger, person: FilmPerson, rows: FaceRows, keys: Mapping[str, str]
) -> PersonFaces:
    wanted = set(person.frames)
    where = zip(rows.clip_id_N.tolist(), rows.frame_index_N.tolist(), strict=True)
    taken = np.array([place in wanted for place in where], np.bool_)
    taken &= rows.person_N == person.number
    own = rows_at(rows, np.flatnonzero(taken))
    outputs = _outputs(ledger, person.film)
    clips = {clip_id: outputs[keys[clip_id]] for clip_id in sorted(set(own.clip_id_N.tolist()))}
    return PersonFaces(f"{person.film.name}, person {person.number}", own, clips)


def _outputs(ledger: Ledger, film: FilmEntry) -> dict[str, Output]:
    return {output.key: output for output in ledger.expect("crop", film.keys["crop"]).outputs}


def _joined(appearances: list[PersonFaces], namesake: int) -> PersonFaces:
    """Put the appearances of a person together; the second of that name gets a number."""
    columns = [vars(each.rows) for each in appearances]
    rows = FaceRows(**{name: np.concatenate([c[name] for c in columns]) for name in columns[0]})
    clips = {clip_id: clip for each in appearances for clip_id, clip in each.clips.items()}
    name = appearances[0].name
    return PersonFaces(name if namesake == 1 else f"{name} ({namesake})", rows, clips)
