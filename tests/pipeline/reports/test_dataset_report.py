"""The report of a dataset against its tables, counted here in another way."""

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_dataset import make_dataset

from pipeline.recipes import preprocess_recipe
from pipeline.reports import dataset as page
from pipeline.reports import survey as surveys
from pipeline.reports.clip_frames import choose
from pipeline.reports.contact_sheet import COLOURS, clip_picture
from pipeline.reports.coverage import limits_of
from pipeline.reports.dataset import dataset_report, survey_report
from pipeline.reports.page import Picture, Section
from storage.store import StoreError
from tests.flows.report_page import pictures_of
from tests.pipeline.reports.conftest import (
    BLURRED,
    BLURRED_FRAMES,
    LANDSCAPE,
    NAME,
    PARTLY,
    TEXT,
    Reported,
    reported,
)

GOOD = ("man.mp4", "woman.mp4", PARTLY)


def table(mixed: Reported, film: str, stage: str, name: str) -> list[dict[str, Any]]:
    """Rows of one of a film's tables, read by pyarrow alone."""
    commit = mixed.ledger.find(stage, mixed.film(film).keys[stage])
    assert commit is not None
    data = mixed.ledger.store.get(commit.output(name).key)
    return list(pq.read_table(io.BytesIO(data)).to_pylist())


def frames(mixed: Reported) -> list[dict[str, Any]]:
    return [row for film in GOOD for row in table(mixed, film, "face3d", "frames.parquet")]


def section(mixed: Reported, title: str) -> Section:
    return next(one for one in mixed.report.sections if one.title == title)


def decoded(picture: Picture) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image[..., ::-1].astype(int)


def test_the_counts_are_those_of_the_tables(mixed: Reported) -> None:
    numbers = mixed.numbers
    assert numbers["films"] == {"ok": 3, "filtered": 2, "failed": 1}
    assert numbers["films_reasons"] == {
        "filtered": {"blurry": 1, "no_face": 1},
        "failed": {"not_media": 1},
        "crashed": {},
    }
    assert numbers["clips"] == {"ok": 3, "blurry": 1}
    of_good = Counter(row["outcome"] for row in frames(mixed))  # one face in every tick
    assert numbers["frames_of_ok_films"] == dict(of_good)
    assert 8 <= of_good["low_confidence"] <= BLURRED_FRAMES
    ticks = sum(
        len(table(mixed, film, "ingest", "ticks.parquet")) for film in (*GOOD, BLURRED, LANDSCAPE)
    )
    assert sum(numbers["frames"].values()) == ticks
    assert numbers["frames"]["ok"] == of_good["ok"]
    assert numbers["persons"] == 3
    assert numbers["hours_ok"] == pytest.approx(of_good["ok"] / 25 / 3600, rel=0.02)


def test_films_are_listed_the_worst_first(mixed: Reported) -> None:
    rows = mixed.numbers["film_rows"]
    assert [row["name"] for row in rows][:4] == [TEXT, BLURRED, LANDSCAPE, PARTLY]
    partly = rows[3]
    own = table(mixed, PARTLY, "face3d", "frames.parquet")
    assert (partly["clips"], partly["clips_of"], partly["persons"]) == (1, 1, 1)
    assert partly["frames_ok"] == sum(row["outcome"] == "ok" for row in own)
    assert partly["frames_of"] == len(own)
    shown = section(mixed, "Films").table
    assert shown is not None
    assert [row[0] for row in shown.rows] == [row["name"] for row in rows]


def test_the_first_sentences_say_what_is_wrong(mixed: Reported) -> None:
    said = mixed.report.summary
    assert said.startswith("6 films: 1 failed, 2 filtered, 3 ok. 0.1 minutes of good footage in 3")
    assert "2 of 6 films filtered: blurry (1), no_face (1)." in said
    assert "1 of 6 films failed: not_media (1)." in said
    assert "1 of 4 clips filtered: blurry (1)." in said
    assert f"low_confidence ({mixed.numbers['frames']['low_confidence'] - 37})" in said


def test_coverage_is_of_all_ok_frames_of_a_small_dataset(mixed: Reported) -> None:
    ok = [row for row in frames(mixed) if row["outcome"] == "ok"]
    coverage = mixed.numbers["coverage"]
    assert (coverage["films"], coverage["frames"], coverage["every"]) == (3, len(ok), 1)
    pitch, yaw, roll = np.rad2deg([row["angles"] for row in ok]).T
    lips = [np.reshape(row["landmarks"], (68, 2))[[62, 66]] for row in ok]
    eyes = [np.reshape(row["landmarks"], (68, 2))[36:48].reshape(2, 6, 2).mean(1) for row in ok]
    gap = [np.hypot(*(a - b)) / np.hypot(*(c - d)) for (a, b), (c, d) in zip(lips, eyes, strict=1)]
    expected = {
        "pitch_deg": pitch,
        "yaw_deg": yaw,
        "roll_deg": roll,
        "mouth_opening": gap,
        **{n: [row[n] for row in ok] for n in ("sharpness", "occlusion", "reprojection_iod")},
    }
    for measure, values in expected.items():
        found = coverage["percentiles"][measure]
        assert [found["p5"], found["p50"], found["p95"]] == pytest.approx(
            np.percentile(values, [5, 50, 95]), rel=1e-5
        )
    sharp = [row["sharpness"] for row in frames(mixed) if row["reason"] == "blurry"]
    assert sorted(mixed.survey.sample.rejected["sharpness"]) == pytest.approx(sorted(sharp))


def test_the_worst_clips_come_first_with_their_reason(mixed: Reported) -> None:
    first, second, *others = mixed.numbers["worst_clips"]
    assert (first["film"], first["outcome"], first["reason"]) == (BLURRED, "filtered", "blurry")
    assert first["lost"] == first["frames"] == 37
    assert (second["film"], second["outcome"]) == (PARTLY, "ok")
    assert second["lost_by_outcome"] == {"low_confidence": second["lost"]}
    assert {clip["lost"] for clip in others} == {0}
    means = [clip["mean_reprojection_iod"] for clip in others]
    assert means == sorted(means, reverse=True)
    captions = [picture.caption for picture in section(mixed, "Crops").pictures]
    assert len(captions) == 4
    assert captions[0].startswith(f"1. {BLURRED}, person 0")
    assert "filtered, blurry; 37 of 37 frames not ok" in captions[0]
    assert f"kept; {second['lost']} of 37 frames not ok: low_confidence" in captions[1]


def test_rejected_frames_are_framed_in_the_colour_of_their_outcome(mixed: Reported) -> None:
    red = [int(COLOURS["low_confidence"][i : i + 2], 16) for i in (1, 3, 5)]
    image = decoded(clip_picture(mixed.ledger, mixed.version, mixed.survey.worst_clips[1], ""))
    tiles = image[:, -8 * 128 :]
    borders = [tiles[20:100, 128 * number + 2].mean(axis=0) for number in range(8)]
    is_red = [bool(np.abs(border - red).max() < 40) for border in borders]
    assert is_red == [True, True, *[False] * 6]
    line = tiles[-3]
    part = np.mean(np.abs(line - red).max(axis=1) < 60)
    assert part == pytest.approx(mixed.survey.worst_clips[1].lost / 37, abs=0.03)


def test_landmarks_lie_on_the_face_also_where_it_was_rejected(mixed: Reported) -> None:
    image = decoded(clip_picture(mixed.ledger, mixed.version, mixed.survey.worst_clips[0], ""))
    for number in range(8):
        x = image.shape[1] + 128 * (number - 8)
        tile = image[4:124, x + 4 : x + 124]
        green = (tile[..., 1] - np.maximum(tile[..., 0], tile[..., 2])) > 40
        ys, xs = np.nonzero(green)
        assert len(ys) > 100
        assert abs(xs.mean() - 60) < 12  # the crop's centre is the tip of the nose
        assert abs(ys.mean() - 60) < 15


def test_a_film_without_clips_is_shown_with_its_reason(mixed: Reported) -> None:
    (picture,) = section(mixed, "Films without clips").pictures
    assert picture.caption == f"{LANDSCAPE}: filtered, no_face"
    assert decoded(picture).shape[0] == 200


def test_the_page_is_small_whole_and_the_same_each_time(mixed: Reported) -> None:
    html = mixed.report.html()
    assert len(html) < 3_000_000
    kinds = Counter(kind for kind, _ in pictures_of(html))
    assert kinds == {"image/svg+xml": 6, "image/jpeg": 5}
    assert "<partly>" not in html
    assert "&lt;partly&gt; &amp; [so].mp4" in html
    assert dataset_report(mixed.ledger, NAME, mixed.version).html() == html


def test_the_limits_are_those_of_the_recipe(mixed: Reported) -> None:
    recipe = preprocess_recipe("demo")
    limits = limits_of("demo")
    assert limits.at_least["sharpness"] == recipe.face3d.quality.min_sharpness
    assert limits.at_least["face_px"] == recipe.crop.spans.min_face_px
    assert limits.at_most["occlusion"] == recipe.face3d.quality.max_occlusion
    assert "at least 32" in mixed.report.html()
    assert limits_of("of somebody else").of("sharpness") == {}


def test_numbers_are_json_without_nan(mixed: Reported) -> None:
    assert json.loads(json.dumps(mixed.numbers, allow_nan=False)) == mixed.numbers


def test_what_is_left_out_of_a_large_dataset_is_said(
    mixed: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, value in (
        (surveys, "_SAMPLED_FILMS", 2),
        (surveys, "_SAMPLED_FRAMES", 20),
        (surveys, "_WORST_FILMS", 1),
        (surveys, "WORST_CLIPS", 2),
        (page, "_FILM_ROWS", 4),
    ):
        monkeypatch.setattr(module, name, value)
    small = reported(mixed.store, NAME)
    sample = small.survey.sample
    assert sample.films == 2
    assert sample.stride >= 3
    assert 10 <= sample.frames <= 20
    shown = section(small, "Coverage").text
    assert f"One in {sample.stride} of the ok frames of 2 of 3 films: {sample.frames} fr" in shown
    assert "2 films, the best ones, are left out here" in section(small, "Films").text
    assert len(section(small, "Crops").pictures) == 2
    counts = ("films", "clips", "frames", "persons", "film_rows")
    assert {name: small.numbers[name] for name in counts} == {
        name: mixed.numbers[name] for name in counts
    }
    assert small.numbers["worst_clips"][0]["film"] == BLURRED


def test_a_dataset_with_nothing_usable_says_so(mixed_films: list[Path], tmp_path: Path) -> None:
    useless = [film for film in mixed_films if film.name in {TEXT, LANDSCAPE}]
    make_dataset(useless, tmp_path / "store", "useless")
    found = reported(tmp_path / "store", "useless")
    assert found.report.summary.startswith(
        "2 films: 1 failed, 1 filtered. 0.0 minutes of good footage in 0 clips of 0 persons.\n"
        "1 of 2 films filtered: no_face (1). 1 of 2 films failed: not_media (1).\n"
    )
    titles = [one.title for one in found.report.sections]
    assert titles == ["Counts", "Films", "Films without clips"]
    assert found.numbers["clips"] == {}
    assert found.numbers["coverage"]["percentiles"] == {}
    json.dumps(found.numbers, allow_nan=False)
    pictures_of(found.report.html())


def test_a_dataset_in_which_all_is_well_says_so(small_store: Path) -> None:
    said = reported(small_store, "small").report.summary
    assert said.startswith("2 films: 2 ok.")
    assert "Nothing was lost: every film, clip and frame is ok." in said


def test_copies_of_films_may_have_expired_and_clips_may_not(own_store: Path) -> None:
    before = reported(own_store, "small")
    for path in (own_store / "payload" / "ingest").rglob("*-mezzanine.mp4"):
        path.unlink()
    crops = section(reported(own_store, "small"), "Crops").pictures
    assert [decoded(picture).shape[1] for picture in crops] == [8 * 128, 8 * 128]
    for path in (own_store / "payload" / "crop").rglob("*.mp4"):
        path.unlink()
    with pytest.raises(StoreError):
        survey_report(before.ledger, before.survey, before.numbers)


@given(st.lists(st.booleans(), min_size=1, max_size=300))
def test_chosen_frames_have_both_kinds(is_rejected: list[bool]) -> None:
    chosen = choose(is_rejected, 8)
    assert chosen == sorted(set(chosen))
    assert len(chosen) <= 8
    assert {is_rejected[t] for t in chosen} == set(is_rejected)
    if len(set(is_rejected)) == 1:
        assert len(chosen) == min(8, len(is_rejected))
