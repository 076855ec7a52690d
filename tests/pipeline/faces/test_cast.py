"""Faces of the persons of the small dataset: a man and a woman, a clip each."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_dataset import NAME

from pipeline import dataset as datasets
from pipeline.dataset import DatasetVersion
from pipeline.faces.cast import cast_faces, rows_at
from preprocess.media.clips import ClipReader
from storage.ledger import Ledger
from storage.store import open_store


@pytest.fixture
def ledger(small_store: Path) -> Ledger:
    return Ledger(open_store(str(small_store)))


@pytest.fixture
def dataset(ledger: Ledger) -> DatasetVersion:
    return datasets.load(ledger, NAME)


def ignored(_done: int, _total: int) -> None:
    pass


def test_each_person_has_frames_that_are_ok_and_the_clips_that_show_them(
    ledger: Ledger, dataset: DatasetVersion, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    persons, cast = cast_faces(ledger, dataset, 9, 0.48, lambda *counts: told.append(counts))
    assert {person.name for person in persons} == {"man.mp4, person 0", "woman.mp4, person 0"}
    assert told == [(1, 2), (2, 2)]
    for person, own in zip(persons, cast.persons, strict=True):
        assert person.rows.ok_N.all()
        assert len(person.rows) == sum(len(each.frames) for each in own) > 10
        assert (np.diff(person.rows.pts_s_N) > 0.07).all()
        assert set(person.rows.clip_id_N) == set(person.clips)
        (clip,) = person.clips.values()
        reader = ClipReader(ledger.fetch(clip, tmp_path))
        assert reader[int(person.rows.clip_frame_N[-1])].shape == (256, 256, 3)


def test_no_more_persons_than_asked_for(ledger: Ledger, dataset: DatasetVersion) -> None:
    (person,), cast = cast_faces(ledger, dataset, 1, 0.48, ignored)
    assert len(cast.persons) == 2
    assert len(person.rows) == len(cast.persons[0][0].frames)


def test_films_of_one_name_show_persons_of_two(ledger: Ledger, dataset: DatasetVersion) -> None:
    films = tuple(replace(film, name="film.mp4") for film in dataset.films)
    persons, _ = cast_faces(ledger, replace(dataset, films=films), 9, 0.48, ignored)
    assert [person.name for person in persons] == ["film.mp4, person 0", "film.mp4, person 0 (2)"]


def test_rows_come_in_the_order_asked_for(ledger: Ledger, dataset: DatasetVersion) -> None:
    rows = cast_faces(ledger, dataset, 9, 0.48, ignored)[0][0].rows
    taken = rows_at(rows, [5, 2])
    np.testing.assert_array_equal(taken.expression_NE, rows.expression_NE[[5, 2]])
    assert taken.pts_s_N.tolist() == rows.pts_s_N[[5, 2]].tolist()
