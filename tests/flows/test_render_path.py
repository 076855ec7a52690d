"""Shots in, delivered films out: every frame accounted for, the film's form kept, faults named."""

import shutil
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from small_dataset import decode, write_film

from flows.render import render_film
from flows.server import PrefectServer
from preprocess.media.verify import verify_delivery
from storage.schemas import renders_schema
from storage.tables import read_table
from tests.flows.conftest import RUN, TrainedRun
from tests.flows.report_page import pictures_of

GREY_FRAMES = 10


@pytest.fixture(autouse=True)
def _server(prefect_api: PrefectServer) -> None:
    pass


@pytest.fixture(scope="module")
def store(trained: TrainedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the store with the tiny network, for renders alone."""
    copy = tmp_path_factory.mktemp("render") / "store"
    shutil.copytree(trained.store, copy)
    return copy


@pytest.fixture(scope="module")
def gap_film(short_man: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The man, with grey frames in the middle that show nobody; silent."""
    frames = decode(short_man)[:30]
    grey = [np.full_like(frames[0], 120)] * GREY_FRAMES
    return write_film(
        [*frames[:15], *grey, *frames[15:]], tmp_path_factory.mktemp("gap") / "gap.mp4"
    )


def film_shot(film: Path, performance: Path, **more: Any) -> dict[str, Any]:
    video = {"video": str(performance)}
    return {"mode": "film", "id": "dub", "film": str(film), "performance": video, **more}


def render(store: Path, *shots: dict[str, Any], **more: Any) -> dict[str, Any]:
    job = {"job": "job", "run": RUN, "recipe": "dubbing_demo", "visible_mark": False}
    job |= {"shots": list(shots), **more}
    return render_film(job=job, store=str(store), ray_address="none")


def test_a_dub_takes_the_films_place_and_touches_the_face_alone(
    store: Path, short_man: Path, short_woman: Path, portrait_png: Path, tmp_path: Path
) -> None:
    portrait = {
        "mode": "portrait",
        "id": "moving",
        "portrait": str(portrait_png),
        "performance": {"video": str(short_woman)},
        "duration_s": 0.5,
    }
    result = render(store, film_shot(short_man, short_woman), portrait)
    dub, moving = result["shots"]
    assert (dub["outcome"], moving["outcome"]) == ("ok", "ok")
    delivered = store / dub["key"]
    assert verify_delivery(short_man, delivered, audio_expected=True) == ()
    before, after = decode(short_man), decode(delivered)
    assert len(after) == len(before) == dub["frames_total"]
    assert dub["frames_rendered"] + dub["frames_kept"] == dub["frames_total"]
    assert dub["frames_rendered"] > 0
    change = np.abs(np.stack(before).astype(int) - np.stack(after)).max(axis=3)
    height, width = change.shape[1:]
    assert np.median(change[:, : height // 10]) <= 3  # above the head: only encoding
    assert change[:, : height // 10].mean() < 2
    assert change[:, height // 4 : height // 2, width // 3 : width // 2].max() > 40

    with av.open(str(store / moving["key"])) as clip:
        stream = clip.streams.video[0]
        assert (stream.width, stream.height) == (256, 256)
        assert len(clip.streams.audio) == 1
    assert len(decode(store / moving["key"])) == moving["frames_total"] == 12

    pictures = pictures_of((store / "deliver/job/report.html").read_text("utf-8"))
    assert len(pictures) == 2
    table = read_table(store / "deliver/job/renders.parquet", renders_schema())
    assert table["shot_id"].to_pylist() == ["dub", "moving"]
    assert table["sha256"].null_count == 0

    again = render(store, film_shot(short_man, short_woman), portrait)
    assert [shot["sha256"] for shot in again["shots"]] == [dub["sha256"], moving["sha256"]]


@pytest.mark.parametrize("policy", ["keep", "hold", "fail-shot"])
def test_frames_without_a_face_follow_the_policy(
    store: Path, gap_film: Path, short_woman: Path, policy: str
) -> None:
    (shot,) = render(store, film_shot(gap_film, short_woman, policy=policy))["shots"]
    if policy == "fail-shot":
        assert (shot["outcome"], shot["reason"]) == ("failed", "unrenderable_frames")
        assert shot["frames_failed"] >= GREY_FRAMES
        assert shot["key"] is None
        return
    assert shot["outcome"] == "ok"
    assert shot["frames_kept"] >= GREY_FRAMES
    frames = decode(store / shot["key"])
    assert len(frames) == 30 + GREY_FRAMES
    grey = np.abs(frames[15 + GREY_FRAMES // 2].astype(int) - 120).mean()
    assert (grey < 5) == (policy == "keep")


def test_a_performance_that_ends_early_leaves_the_rest_as_it_was(
    store: Path, short_man: Path, short_woman: Path
) -> None:
    late = film_shot(short_man, short_woman)
    late["performance"]["start_s"] = 1.0
    (shot,) = render(store, late)["shots"]
    assert shot["outcome"] == "ok"
    assert 0 < shot["frames_kept"] < shot["frames_total"]


def test_a_shot_that_fails_leaves_the_others_delivered(
    store: Path, short_man: Path, short_woman: Path, tmp_path: Path
) -> None:
    nobody = tmp_path / "nobody.png"
    cv2.imwrite(str(nobody), np.full((256, 256, 3), 90, np.uint8))
    video = {"video": str(short_woman)}
    faceless = {"mode": "portrait", "id": "nobody", "portrait": str(nobody), "performance": video}
    shots = render(store, faceless, film_shot(short_man, short_woman))["shots"]
    assert [(shot["outcome"], shot["reason"]) for shot in shots] == [
        ("failed", "no_face"),
        ("ok", ""),
    ]


def test_the_mark_is_there_by_default(store: Path, short_man: Path, short_woman: Path) -> None:
    (shot,) = render(store, film_shot(short_man, short_woman), visible_mark=True)["shots"]
    before, after = decode(short_man)[0], decode(store / shot["key"])[0]
    corner = np.s_[-20:, :40]
    assert after[corner].mean() < before[corner].mean() * 0.7
