"""Landmarks: one row for every tick, with a face or with the reason why there is none."""

from pathlib import Path
from typing import Any

import numpy as np
from small_dataset import decode, write_film

from pipeline.recipes import preprocess_recipe
from pipeline.stages.landmarks import LANDMARKS
from preprocess.outcomes import FrameOutcome
from storage.schemas import landmarks_schema
from storage.tables import read_table

UP_TO_LANDMARKS = preprocess_recipe("demo").stages()[:2]


def test_every_tick_has_a_row_and_the_counts_are_its(small: Any) -> None:
    for film in ("man.mp4", "woman.mp4"):
        commit = small.commit(film, "landmarks")
        rows = read_table(small.output(film, "landmarks", LANDMARKS), landmarks_schema())
        ticks = small.commit(film, "ingest").counts["frames_out"]
        assert rows["frame_index"].to_pylist() == list(range(ticks))
        outcomes = rows["outcome"].to_pylist()
        assert commit.counts == {name: outcomes.count(name) for name in set(outcomes)}
        assert outcomes.count("ok") > 0.9 * ticks
        for row in rows.to_pylist():
            assert (row["outcome"] == FrameOutcome.OK) == (row["landmarks"] is not None)
            assert (row["mesh"] is None) == (row["box"] is None) == (row["landmarks"] is None)


def test_landmarks_lie_on_the_face(small: Any) -> None:
    table = read_table(small.output("man.mp4", "landmarks", LANDMARKS), landmarks_schema())
    for row in table.to_pylist():
        points = np.reshape(row["landmarks"], (68, 2))
        x0, y0, x1, y1 = row["box"]
        assert 0 < x0 < x1 < 640
        assert 0 < y0 < y1 < 360
        assert (points >= [x0 - 1, y0 - 1]).all()
        assert (points <= [x1 + 1, y1 + 1]).all()
        right_eye, left_eye, nose, mouth, _ = np.reshape(row["points5"], (5, 2))
        assert right_eye[0] < nose[0] < left_eye[0]
        assert right_eye[1] < nose[1] < mouth[1]


def test_a_film_without_a_face_is_filtered_with_its_counts(
    bench: Any, short_landscape: Path
) -> None:
    (item,) = bench.run(UP_TO_LANDMARKS, short_landscape)
    assert item.ended is not None
    assert (item.ended.outcome, item.ended.reason) == ("filtered", "no_face")
    commit = item.commits["landmarks"]
    assert commit.outputs == ()
    assert sum(commit.counts.values()) == item.commits["ingest"].counts["frames_out"]


def test_ticks_without_the_face_say_so(bench: Any, short_man: Path, tmp_path: Path) -> None:
    faces = decode(short_man)[:10]
    film = write_film([*faces, *[np.full_like(faces[0], 128)] * 10], tmp_path / "gone.mp4", fps=25)
    (item,) = bench.run(UP_TO_LANDMARKS, film)
    assert item.commits["landmarks"].counts == {"ok": 10, "no_face": 10}
