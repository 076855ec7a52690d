"""The faces of the persons of a film, over all tracks of each."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.provenance.film_faces import faces_of_film
from pipeline.stages.landmarks import TRACKS
from storage.ledger import Commit, Ledger
from storage.schemas import tracks_schema
from storage.store import open_store
from storage.tables import write_table

NETWORK = {"embedder": "arcface", "weights_sha256": "b7120c09"}
Tracks = list[tuple[int, int, list[float] | None]]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(open_store(str(tmp_path / "store")))


def landmarks(ledger: Ledger, folder: Path, tracks: Tracks) -> Commit:
    """The stage's commit of a film with tracks of (person, frames, embedding)."""
    rows = [
        {
            "track": number,
            "person": person,
            "shot": 0,
            "first_tick": 0,
            "last_tick": frames - 1,
            "frames": frames,
            "embedding": embedding,
        }
        for number, (person, frames, embedding) in enumerate(tracks)
    ]
    write_table(folder / "made.parquet", rows, tracks_schema())
    files = {TRACKS: folder / "made.parquet"}
    return ledger.commit(
        "landmarks", "f" * 64, outcome="ok", files=files, started_at="", seconds=0.0
    )


def test_long_tracks_count_more_and_persons_stay_apart(ledger: Ledger, tmp_path: Path) -> None:
    tracks: Tracks = [(0, 30, [1.0, 0.0, 0.0]), (1, 99, [0.0, 0.0, 2.0]), (0, 40, [0.0, 1.0, 0.0])]
    faces = faces_of_film(ledger, landmarks(ledger, tmp_path, tracks), NETWORK, tmp_path)
    assert np.allclose(faces[0].embedding, [0.6, 0.8, 0.0])
    assert np.allclose(faces[1].embedding, [0.0, 0.0, 1.0])
    assert all(face.network == NETWORK for face in faces.values())


@pytest.mark.parametrize("tracks", [[], [(0, 30, None)], [(1, 30, [0.0, 0.0])]])
def test_a_person_without_embedding_has_no_known_face(
    ledger: Ledger, tmp_path: Path, tracks: Tracks
) -> None:
    commit = landmarks(ledger, tmp_path, tracks)
    assert faces_of_film(ledger, commit, NETWORK, tmp_path) == {}


def test_a_recipe_without_embedder_knows_nobody(ledger: Ledger, tmp_path: Path) -> None:
    commit = landmarks(ledger, tmp_path, [(0, 30, [1.0, 0.0])])
    assert faces_of_film(ledger, commit, None, tmp_path) == {}
