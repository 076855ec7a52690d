"""Several persons in one film: who is who, a clip for each, every frame accounted for."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_dataset import decode, write_film

from pipeline.faces.models import FaceModelName, widths_of
from pipeline.faces.rows import FaceRows, read_faces
from pipeline.recipes import preprocess_recipe
from pipeline.stage import Item
from storage import assets
from storage.schemas import ticks_schema, tracks_schema
from storage.tables import read_table

TAKE = 70  # frames: more than the recipe's least


@pytest.fixture(scope="module")
def recipe_assets() -> None:
    """The default recipe's networks; two of them come from no package index."""
    for name in preprocess_recipe("default").landmarks.networks.assets:
        try:
            assets.fetch(name)
        except assets.AssetError as error:
            pytest.skip(str(error))


def _padded(frames: list[np.ndarray], count: int) -> list[np.ndarray]:
    """The first frames, played forth and back as often as it takes."""
    swing = [*frames, *frames[-2:0:-1]]
    return [swing[n % len(swing)] for n in range(count)]


def _read(bench: Any, item: Item, folder: Path) -> tuple[list[dict[str, Any]], FaceRows]:
    widths = widths_of(FaceModelName.MESH478)
    return read_faces(bench.ledger, item.commits["face3d"], widths, folder)


def test_two_people_side_by_side_and_one_who_comes_back(
    bench: Any, short_man: Path, short_woman: Path, tmp_path: Path, recipe_assets: None
) -> None:
    """Both; then the man alone; then the woman alone, larger, after a cut; then the man."""
    man, woman = (_padded(decode(film), TAKE) for film in (short_man, short_woman))
    both = [np.concatenate([a, b], axis=1) for a, b in zip(man, woman, strict=True)]
    grey = np.full_like(man[0], 90)
    alone = [np.concatenate([a, grey], axis=1) for a in man]
    hers = [np.concatenate([grey, b], axis=1) for b in woman]
    film = write_film([*both, *alone, *hers, *alone[::-1]], tmp_path / "people.mp4", fps=25)
    (item,) = bench.run(preprocess_recipe("default").stages(), film)
    assert item.ended is None
    ticks = read_table(
        bench.ledger.fetch(item.commits["ingest"].output("ticks.parquet"), tmp_path),
        ticks_schema(),
    )
    assert len(ticks) == 4 * TAKE
    clips, rows = _read(bench, item, tmp_path)
    kept = [clip for clip in clips if clip["outcome"] == "ok"]
    assert Counter(clip["person"] for clip in kept).keys() == {0, 1}
    is_his = {person: _is_left(rows, person, man[0].shape[1]) for person in (0, 1)}
    assert set(is_his.values()) == {True, False}
    seen = {
        left: {
            int(tick)
            for clip in kept
            if is_his[clip["person"]] == left
            for tick in rows.of_clip(clip["clip_id"]).frame_index_N
        }
        for left in (True, False)
    }
    assert len(seen[True]) > 0.9 * 3 * TAKE
    assert len(seen[False]) > 0.9 * 2 * TAKE
    assert sum(item.commits["face3d"].counts.values()) == 4 * TAKE
    tracks = read_table(
        bench.ledger.fetch(item.commits["landmarks"].output("tracks.parquet"), tmp_path),
        tracks_schema(),
    ).to_pylist()
    assert {track["person"] for track in tracks} == {0, 1}
    lengths = [np.linalg.norm(track["embedding"]) for track in tracks]
    assert lengths == pytest.approx([1] * len(tracks), abs=1e-5)
    # One row a tick of whichever person one asks for.
    for person in (0, 1):
        alone_rows = rows.of_person(person)
        assert alone_rows.frame_index_N.tolist() == list(range(4 * TAKE))
        assert set(alone_rows.person_N[alone_rows.ok_N].tolist()) == {person}


def _is_left(rows: FaceRows, person: int, width: int) -> bool:
    own = rows.ok_N & (rows.person_N == person)
    return bool(rows.landmarks_NK2[own][..., 0].mean() < width)


def test_hands_over_the_face_are_told(
    bench: Any, pexels_film: Path, tmp_path: Path, landmarker_task: Path
) -> None:
    """In the demo's performance the hands are on the face from about frame 58 to 229."""
    (item,) = bench.run(preprocess_recipe("demo").stages(), pexels_film)
    assert item.ended is None
    _, rows = _read(bench, item, tmp_path)
    at_s = rows.pts_s_N - rows.pts_s_N[0]
    covered = rows.outcome_N == "occluded"
    hands = (at_s > 58 * 1001 / 24000) & (at_s < 229 * 1001 / 24000)
    assert covered[hands].mean() > 0.9
    assert covered[~hands].mean() < 0.05
    assert rows.ok_N[at_s > 11.5].all()
