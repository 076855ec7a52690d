"""Crop: clips of kept spans, the origin of each of their frames, and reasons for the rest."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_dataset import cut

from pipeline.recipes import preprocess_recipe
from pipeline.stage import StageSpec
from pipeline.stages.crop import CROPS, Crop, CropStageConfig
from preprocess.crop import transform
from preprocess.media.clips import ClipReader
from preprocess.people.spans import SpanConfig
from storage.schemas import crops_schema
from storage.tables import read_table

DEMO = preprocess_recipe("demo")


def with_spans(**changes: Any) -> list[StageSpec]:
    config = replace(DEMO.crop, spans=replace(DEMO.crop.spans, **changes))
    return [*DEMO.stages()[:2], StageSpec(Crop, config)]


@pytest.mark.parametrize("film", ["man.mp4", "woman.mp4"])
def test_every_clip_frame_has_a_row_and_shows_its_tick(small: Any, film: str) -> None:
    commit = small.commit(film, "crop")
    rows = read_table(small.output(film, "crop", CROPS), crops_schema()).to_pylist()
    mezzanine = ClipReader(small.output(film, "ingest", "mezzanine.mp4"))
    for number, span in enumerate(commit.info["spans"]):
        own = [row for row in rows if row["span"] == number]
        assert len(own) == (span["frames"] if span["clip"] else 0)
        if not span["clip"]:
            continue
        clip = ClipReader(small.output(film, "crop", span["clip"]))
        assert len(clip) == len(own)
        assert clip[0].shape == (256, 256, 3)
        assert [row["clip_frame"] for row in own] == list(range(len(clip)))
        assert [own[0]["frame_index"], own[-1]["frame_index"]] == [
            span["first_tick"],
            span["last_tick"],
        ]
        row = own[len(own) // 2]
        affine = np.reshape(row["crop_affine"], (3, 3))
        centre = np.linalg.inv(affine) @ [128, 128, 1]
        x, y = centre[:2] / centre[2]
        seen = clip[row["clip_frame"]][120:136, 120:136].mean(axis=(0, 1))
        half = max(2, round(row["box_side"] / 32))
        area = mezzanine[row["frame_index"]][
            round(y) - half : round(y) + half, round(x) - half : round(x) + half
        ]
        assert np.abs(seen - area.mean(axis=(0, 1))).max() < 12


def test_the_nose_is_near_the_centre_of_every_crop(small: Any) -> None:
    frames = small.frames("man.mp4").to_pylist()
    for row in (row for row in frames if row["outcome"] == "ok"):
        points = np.reshape(row["landmarks"], (68, 2)).astype(float)
        nose = transform(np.reshape(row["crop_affine"], (3, 3)), points)[30]
        assert np.abs(nose - 128).max() < 40


def test_spans_that_are_too_short_or_too_small_are_filtered_with_the_reason(
    bench: Any, short_man: Path, tmp_path: Path
) -> None:
    film = cut(short_man, tmp_path / "a.mp4", 0, 0.5)
    assert CropStageConfig().spans == SpanConfig()
    for changes, reason in (
        ({"min_frames": 25}, "too_short"),
        ({"min_frames": 1, "min_face_px": 2000}, "face_too_small"),
    ):
        (item,) = bench.run(with_spans(**changes), film)
        assert item.ended is not None
        assert (item.ended.outcome, item.ended.reason) == ("filtered", reason)
        assert item.commits["crop"].counts == {f"spans_{reason}": 1}
    (item,) = bench.run(with_spans(min_frames=1), film)
    assert item.ended is None
    assert item.commits["crop"].counts == {"spans_ok": 1}
    assert len(bench.ledger.committed("landmarks")) == 1
