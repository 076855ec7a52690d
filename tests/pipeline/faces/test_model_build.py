"""A face model built from the tables of a store: whose meshes are taken, and what comes of them."""

from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_dataset import NAME

from model.geometry.camera import project_film
from pipeline import dataset as datasets
from pipeline.dataset import DatasetKind
from pipeline.errors import ConfigurationError
from pipeline.faces.model_build import MIN_PERSONS, build_face_model
from pipeline.faces.persons import cast_of, meshes_of
from pipeline.stage import Item, Outcome
from pipeline.stages.face_stretches import clip_id_of
from preprocess.face3d.mesh478 import read_mesh478
from storage.ledger import Commit, Ledger
from storage.schemas import (
    FaceWidths,
    crops_schema,
    frames_schema,
    landmarks_schema,
    tracks_schema,
)
from storage.store import open_store
from storage.tables import TableWriter

WIDTHS = FaceWidths("mesh478", 40, 64, 0, 0)
SAME = 0.35
Row = dict[str, Any]


def made_meshes(seed: int, frames: int) -> NDArray[np.float64]:
    """Meshes [T,478,3] of a made-up person, frontal, in film px."""
    rng = np.random.default_rng(seed)
    model = read_mesh478()
    shapes = model.face.shape(rng.normal(size=40), 0.5 * rng.normal(size=(frames, 64)))
    nothing = np.zeros((frames, 3))
    origin, scale = np.full((frames, 2), 200.0), np.full(frames, 70.0)
    flat = project_film(shapes, nothing, nothing, origin, scale)
    return np.concatenate([flat, -70 * shapes[..., 2:]], axis=-1)


class MadeStore:
    """A store with films whose tables are written row by row."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger(open_store(str(folder / "store")))
        self._folder = folder
        self._items: list[Item] = []

    def film(
        self,
        name: str,
        persons: list[tuple[int, list[float] | None]],
        frames: int = 20,
        *,
        has_mesh: bool = True,
        bad: tuple[int, ...] = (),
    ) -> None:
        """Add a film that shows (seed of a face, embedding), each as one track and one clip."""
        landmarks: list[Row] = []
        crops: list[Row] = []
        tracks: list[Row] = []
        meshes = [made_meshes(seed, frames) for seed, _ in persons]
        for tick in range(frames):
            for number in range(len(persons)):
                mesh = meshes[number][tick].reshape(-1) if has_mesh else None
                landmarks.append(
                    {"frame_index": tick, "track": number, "outcome": "ok", "mesh": mesh}
                )
        for number, (_, embedding) in enumerate(persons):
            tracks.append(
                {"track": number, "person": number, "shot": 0, "first_tick": 0,
                 "last_tick": frames - 1, "frames": frames, "embedding": embedding}
            )  # fmt: skip
            crops += [
                {"frame_index": tick, "span": number, "clip_frame": tick, "origin": [200, 200],
                 "scale": 70.0, "box_centre": [200, 200], "box_side": 180.0,
                 "crop_affine": np.eye(3), "sharpness": 50.0, "occlusion": 0.0}
                for tick in range(frames)
            ]  # fmt: skip
        found = Item(
            id=name * 32,
            inputs={"film_sha256": name * 64},
            places={"film": f"/films/{name}.mp4", "name": f"{name}.mp4", "bytes": 100},
        )
        found = found.after(self._commit("ingest", name, {}))
        tables = {
            "landmarks.parquet": (landmarks, landmarks_schema()),
            "tracks.parquet": (tracks, tracks_schema()),
        }
        found = found.after(self._commit("landmarks", name, tables))
        spans = [
            {"track": number, "person": number, "shot": 0, "first_tick": 0,
             "last_tick": frames - 1, "frames": frames, "face_px": 150.0, "clip": "clip.mp4",
             "reason": ""}
            for number in range(len(persons))
        ]  # fmt: skip
        crop = self._commit("crop", name, {"crops.parquet": (crops, crops_schema())}, spans)
        found = found.after(crop)
        rows = [
            {"source_id": name * 32, "clip_id": clip_id_of(crop, number), "person": number,
             "frame_index": tick, "clip_frame": tick, "pts_s": tick / 25, "reason": "",
             "outcome": "occluded" if tick in bad else "ok"}
            for tick in range(frames)
            for number in range(len(persons))
        ]  # fmt: skip
        tables = {"frames.parquet": (rows, frames_schema(WIDTHS))}
        self._items.append(found.after(self._commit("face3d", name, tables)))

    def dataset(self, name: str = "made") -> datasets.DatasetVersion:
        kind = DatasetKind("default", "exact", "0" * 64, WIDTHS)
        return datasets.assemble(self.ledger, name, kind, self._items, "face3d")

    def _commit(
        self, stage: str, film: str, tables: dict[str, Any], spans: list[Row] | None = None
    ) -> Commit:
        files = {}
        for name, (rows, schema) in tables.items():
            files[name] = self._folder / f"{stage}-{film}-{name}"
            with TableWriter(files[name], schema) as table:
                for _, group in groupby(rows, lambda row: row.get("span")):  # as the stage does
                    table.write(list(group))
        return self.ledger.commit(
            stage,
            f"{stage}-{film}",
            outcome=str(Outcome.OK),
            files=files,
            info={"spans": spans} if spans else {},
            started_at="2026-01-01T00:00:00.000+00:00",
            seconds=1.0,
        )


@pytest.fixture
def store(tmp_path: Path) -> MadeStore:
    return MadeStore(tmp_path)


def quiet(_said: str) -> None:
    pass


def names(store: MadeStore, version: datasets.DatasetVersion) -> list[list[str]]:
    cast = cast_of(store.ledger, version, SAME, quiet)
    return [[f"{each.film.name[0]}{each.number}" for each in person] for person in cast.persons]


def at(degrees: float) -> list[float]:
    return [float(np.cos(np.deg2rad(degrees))), float(np.sin(np.deg2rad(degrees))), 0.0]


# whose meshes


def test_half_of_the_ticks_are_taken_and_only_those_that_are_ok(store: MadeStore) -> None:
    store.film("a", [(1, at(0))], frames=20, bad=(4, 5, 6))
    cast = cast_of(store.ledger, store.dataset(), SAME, quiet)
    ((person,),) = cast.persons
    ticks = [tick for _, tick in person.frames]
    assert ticks == [0, 2, 7, 9, 11, 13, 15, 17, 19]
    ((clip,),) = meshes_of(store.ledger, cast, quiet)
    np.testing.assert_allclose(clip, made_meshes(1, 20)[ticks], rtol=1e-6, atol=1e-3)


def test_of_two_faces_in_one_picture_each_gets_its_own_meshes(store: MadeStore) -> None:
    store.film("a", [(1, at(0)), (2, at(90))], frames=6)
    ((one,), (other,)) = meshes_of(
        store.ledger, cast_of(store.ledger, store.dataset(), SAME, quiet), quiet
    )
    np.testing.assert_allclose(one, made_meshes(1, 6)[::2], rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(other, made_meshes(2, 6)[::2], rtol=1e-6, atol=1e-3)


def test_a_long_film_gives_no_more_than_400_frames_over_its_whole_length(store: MadeStore) -> None:
    store.film("a", [(1, at(0))], frames=1700)
    ((person,),) = cast_of(store.ledger, store.dataset(), SAME, quiet).persons
    ticks = [tick for _, tick in person.frames]
    assert len(ticks) == 400
    assert (ticks[0], ticks[-1]) == (0, 1698)
    assert set(np.diff(ticks)) == {4, 6}


def test_persons_of_several_films_are_joined_where_they_are_alike(store: MadeStore) -> None:
    store.film("a", [(1, at(0)), (2, at(90))])
    store.film("b", [(1, at(40))])  # 0.77 and 0.64: nearer to a's first
    store.film("c", [(3, at(200))])
    assert names(store, store.dataset()) == [["a0", "b0"], ["a1"], ["c0"]]


def test_two_persons_of_one_film_are_two_however_alike(store: MadeStore) -> None:
    store.film("a", [(1, at(0)), (2, at(5))])
    store.film("b", [(1, at(1))])
    assert names(store, store.dataset()) == [["a0", "b0"], ["a1"]]


def test_a_likeness_near_the_limit_is_told(store: MadeStore) -> None:
    store.film("a", [(1, at(0))])
    store.film("b", [(2, at(np.rad2deg(np.arccos(0.33))))])
    cast = cast_of(store.ledger, store.dataset(), SAME, quiet)
    assert len(cast.persons) == 2
    (doubt,) = cast.doubts
    assert "person 0 of a.mp4 and person 0 of b.mp4 are alike by 0.33: taken as two" in doubt


def test_without_embeddings_each_film_has_its_own_persons_and_that_is_told(
    store: MadeStore,
) -> None:
    store.film("a", [(1, None)])
    store.film("b", [(1, None)])
    version = store.dataset()
    assert names(store, version) == [["a0"], ["b0"]]
    (doubt,) = cast_of(store.ledger, version, SAME, quiet).doubts
    assert "several persons" in doubt


# what comes of them


@pytest.fixture
def eight(store: MadeStore) -> MadeStore:
    for seed, name in enumerate("abcdefgh"):
        store.film(name, [(seed, np.eye(8)[seed].tolist())], frames=60)
    store.dataset()
    return store


def test_a_model_is_built_and_its_card_tells_of_what(eight: MadeStore, tmp_path: Path) -> None:
    said: list[str] = []
    built = build_face_model(eight.ledger, "made", report=said.append)
    path = tmp_path / "face.safetensors"
    path.write_bytes(built.content)
    card = read_mesh478(path).face.card
    assert built.card.items() <= card.items()
    assert (card["films"], card["persons"], card["persons_filmed"]) == (8, 8, 8)
    assert card["frames"] == 8 * 30
    assert card["dataset"] == datasets.load(eight.ledger, "made").key
    assert 0 < card["left_out"]["residual_iod"] < 0.02
    assert built.doubts == ()
    assert sum(line.startswith("film ") for line in said) == 8


def test_the_same_dataset_gives_the_same_bytes(eight: MadeStore) -> None:
    first, second = (build_face_model(eight.ledger, "made") for _ in range(2))
    assert first.content == second.content


def test_portraits_add_persons(eight: MadeStore, portrait_png: Path, landmarker_task: Path) -> None:
    assert landmarker_task.exists()
    card = build_face_model(eight.ledger, "made", [portrait_png]).card
    assert (card["persons"], card["persons_filmed"], card["frames"]) == (9, 8, 8 * 30 + 1)


# what cannot be


def test_too_few_persons_are_refused_with_the_numbers(store: MadeStore) -> None:
    store.film("a", [(1, at(0))])
    store.dataset()
    with pytest.raises(ConfigurationError) as refused:
        build_face_model(store.ledger, "made")
    assert str(refused.value) == (
        f"dataset 'made' shows 1 persons in 1 films; a face model is learned from at least "
        f"{MIN_PERSONS}"
    )


def test_the_minimum_counts_persons_not_films(small_store: Path) -> None:
    """Two real films of two persons, from the stages' own tables."""
    ledger = Ledger(open_store(str(small_store)))
    with pytest.raises(ConfigurationError, match="shows 2 persons in 2 films"):
        build_face_model(ledger, NAME, min_persons=3)
    cast = cast_of(ledger, datasets.load(ledger, NAME), SAME, quiet)
    clips = meshes_of(ledger, cast, quiet)
    assert [len(person) for person in clips] == [1, 1]
    for (mesh_TV3,), person in zip(clips, cast.persons, strict=True):
        assert mesh_TV3.shape == (len(person[0].frames), 478, 3)
        assert len(mesh_TV3) in range(15, 21)  # of 38 ticks


def test_landmarks_without_a_mesh_are_refused(store: MadeStore) -> None:
    store.film("a", [(1, at(0))], has_mesh=False)
    store.dataset()
    with pytest.raises(ConfigurationError, match=r"no meshes of a\.mp4"):
        build_face_model(store.ledger, "made", min_persons=1)


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda path: None, "cannot be read"),
        (lambda path: path.write_bytes(b""), "is not a picture"),
        (lambda path: path.write_text("text"), "is not a picture"),
    ],
)
def test_what_is_no_portrait_is_refused(
    store: MadeStore,
    tmp_path: Path,
    landmarker_task: Path,
    write: Callable[[Path], object],
    sentence: str,
) -> None:
    store.film("a", [(1, at(0))])
    store.dataset()
    write(tmp_path / "portrait.png")
    with pytest.raises(ConfigurationError, match=sentence):
        build_face_model(store.ledger, "made", [tmp_path / "portrait.png"])
