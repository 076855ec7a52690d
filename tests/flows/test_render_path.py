"""Shots in, signed films out: frames accounted for, the form kept, consents asked, faults named."""

import datetime
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import yaml
from scipy.io import wavfile
from small_dataset import NAME, decode, write_film

from flows.render import render_film
from flows.server import PrefectServer
from flows.train import train_network
from pipeline.errors import ConfigurationError
from pipeline.home import e3d_home
from pipeline.provenance.consent import Use
from pipeline.provenance.consent_registry import revoke_consent
from pipeline.provenance.mark_key import mark_key
from pipeline.provenance.verify import C2PA, INVISIBLE, VISIBLE, Verdict, find_mark, verify_film
from pipeline.training.runs import find_run
from preprocess.media.sync import measure_sound_shift
from preprocess.media.verify import verify_delivery
from storage.ledger import Ledger
from storage.schemas import renders_schema
from storage.store import open_store
from storage.tables import read_table
from tests.flows.cancelling import cancelled
from tests.flows.command import Ended
from tests.flows.conftest import RUN, TRAIN_RECIPE
from tests.flows.consents import RENDER_RECIPE, agree
from tests.flows.report_page import pictures_of

GREY_FRAMES = 10


@pytest.fixture(autouse=True)
def _server(prefect_api: PrefectServer) -> None:
    pass


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
    shot = {"mode": "film", "id": "dub", "film": str(film), "performance": video, "consent": "man"}
    return {**shot, **more}


def render(store: Path, *shots: dict[str, Any], **more: Any) -> dict[str, Any]:
    job = {"job": "job", "run": RUN, "recipe": RENDER_RECIPE, "visible_mark": False}
    job |= {"shots": list(shots), **more}
    return render_film(job=job, store=str(store), ray_address="none")


def test_a_dub_takes_the_films_place_and_touches_the_face_alone(
    store: Path, short_man: Path, short_woman: Path, portrait_png: Path, tmp_path: Path
) -> None:
    portrait = {
        "mode": "portrait",
        "id": "moving",
        "portrait": str(portrait_png),
        "consent": "astronaut",
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
    assert len(pictures) == 4  # a strip and a thumbnail of each shot
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
    faceless["consent"] = "astronaut"
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


def test_a_delivered_film_proves_what_it_is(
    store: Path, short_man: Path, short_woman: Path, tmp_path: Path
) -> None:
    (shot,) = render(store, film_shot(short_man, short_woman), visible_mark=True)["shots"]
    delivered = store / shot["key"]
    verified = verify_film(delivered, mark_key(e3d_home()))
    assert verified.holds, verified.checks
    claim = verified.manifest.claim
    assert claim is not None
    assert (claim.consent, claim.shot, claim.weights_key) == ("man", "dub", shot["checkpoint_key"])
    assert [claim.still_sha256, claim.performance_sha256] == shot["sources"]
    assert verified.manifest.manifest_id == shot["manifest"]

    data = bytearray(delivered.read_bytes())
    data[data.index(b"mdat") + len(data) // 3] ^= 1
    flipped = tmp_path / "flipped.mp4"
    flipped.write_bytes(data)
    broken = verify_film(flipped, mark_key(e3d_home()))
    assert broken.checks[C2PA].verdict is Verdict.FAILS


def test_marks_can_be_left_off(store: Path, short_man: Path, short_woman: Path) -> None:
    shot = film_shot(short_man, short_woman)
    (row,) = render(store, shot, invisible_mark=False)["shots"]
    checks = verify_film(store / row["key"], mark_key(e3d_home())).checks
    assert {checks[mark].verdict for mark in (INVISIBLE, VISIBLE)} == {Verdict.LEFT_OFF}
    assert not find_mark(store / row["key"], mark_key(e3d_home())).marked


@pytest.mark.parametrize(
    ("consent", "reason"),
    [
        (None, "no_consent"),
        ("nobody", "no_consent"),
        ("expired", "expired_consent"),
        ("portraits", "use_not_allowed"),
        ("astronaut", "other_person"),
    ],
)
def test_a_shot_without_a_fitting_consent_is_refused(
    store: Path,
    short_man: Path,
    short_woman: Path,
    tmp_path: Path,
    e3d_here: Callable[..., Ended],
    consent: str | None,
    reason: str,
) -> None:
    own = Path(shutil.copytree(store, tmp_path / "store"))
    if consent == "expired":
        until = datetime.date(2020, 6, 30)
        agree(own, consent, short_man, until=until)
    if consent == "portraits":
        agree(own, consent, short_man, uses=(Use.PORTRAIT,))
    shutil.rmtree(own / "deliver", ignore_errors=True)
    rendered = Ledger(open_store(str(own))).committed("render-film")
    shots = [film_shot(short_man, short_woman, consent=consent)]
    job = {"job": "refused", "run": RUN, "recipe": RENDER_RECIPE, "seed": 7}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump({**job, "shots": shots}))
    ended = e3d_here("render", tmp_path / "job.yaml", "--store", own, "--ray", "none", "--json")
    (row,) = ended.result["shots"]
    assert (row["outcome"], row["reason"], row["key"]) == ("failed", reason, None)
    assert row["frames_rendered"] == 0
    assert ended.code == 3
    assert Ledger(open_store(str(own))).committed("render-film") == rendered
    assert sorted(path.name for path in (own / "deliver/refused").iterdir()) == [
        "renders.parquet",
        "report.html",
    ]
    assert reason in (own / "deliver/refused/report.html").read_text("utf-8")


def test_what_was_allowed_once_is_not_delivered_after_a_revocation(
    store: Path, short_man: Path, short_woman: Path, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(store, tmp_path / "store"))
    shot = film_shot(short_man, short_woman)
    assert render(own, shot)["shots"][0]["outcome"] == "ok"
    ledger, now = Ledger(open_store(str(own))), datetime.datetime.now(datetime.UTC)
    revoke_consent(ledger, "man", why="asked for it", by="tests", now=now)
    (row,) = render(own, shot)["shots"]
    assert (row["outcome"], row["reason"], row["key"]) == ("failed", "revoked_consent", None)


def test_a_dry_run_computes_nothing(
    store: Path, short_man: Path, short_woman: Path, tmp_path: Path, e3d_here: Callable[..., Ended]
) -> None:
    own = Path(shutil.copytree(store, tmp_path / "store"))
    render(own, film_shot(short_man, short_woman))
    unseen = write_film(decode(short_man)[5:15], tmp_path / "unseen.mp4")
    shots = [
        film_shot(short_man, short_woman, id="known"),
        film_shot(unseen, short_woman, id="unseen"),
        film_shot(tmp_path / "absent.mp4", short_woman, id="absent"),
        film_shot(short_man, short_woman, id="refused", consent=None),
    ]
    job = {"job": "foretold", "run": RUN, "recipe": RENDER_RECIPE, "shots": shots}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    before = {path: path.stat().st_mtime_ns for path in own.rglob("*")}
    ended = e3d_here("render", tmp_path / "job.yaml", "--store", own, "--dry-run", "--json")
    assert ended.code == 0
    states = {shot["shot_id"]: shot["state"] for shot in ended.result["shots"]}
    assert states == {
        "known": "prepared",
        "unseen": "open",
        "absent": "unreadable",
        "refused": "refused",
    }
    assert (ended.result["films"], ended.result["films_to_prepare"]) == (4, 1)
    assert {path: path.stat().st_mtime_ns for path in own.rglob("*")} == before


def test_retry_does_what_was_not_ok_with_the_same_weights(
    store: Path, short_man: Path, short_woman: Path, tmp_path: Path, e3d_here: Callable[..., Ended]
) -> None:
    own = Path(shutil.copytree(store, tmp_path / "store"))
    late = film_shot(short_man, short_woman, id="late", consent="man-later")
    late["performance"]["start_s"] = 0.2
    first = render(own, film_shot(short_man, short_woman), late)["shots"]
    assert [shot["outcome"] for shot in first] == ["ok", "failed"]
    delivered = (own / first[0]["key"]).stat()
    agree(own, "man-later", short_man)
    train_network(str(own), NAME, TRAIN_RECIPE, RUN, steps=1, ray_address="none")  # newer weights
    ended = e3d_here("retry", "job", "--store", own, "--ray", "none", "--json")
    assert ended.code == 0, ended.err
    again = ended.result["shots"]
    assert [shot["outcome"] for shot in again] == ["ok", "ok"]
    assert again[0]["sha256"] == first[0]["sha256"]
    assert (own / again[0]["key"]).stat().st_mtime_ns == delivered.st_mtime_ns
    assert {shot["checkpoint_key"] for shot in again} == {first[0]["checkpoint_key"]}
    nothing = e3d_here("retry", "absent", "--store", own, "--ray", "none")
    assert (nothing.code, nothing.sentence[:26]) == (2, "there is no job 'absent' i")


def test_a_job_cancelled_in_the_ui_delivers_what_is_done_and_goes_on_later(
    store: Path, short_man: Path, short_woman: Path, tmp_path: Path, e3d_here: Callable[..., Ended]
) -> None:
    own = Path(shutil.copytree(store, tmp_path / "store"))
    shots = [
        film_shot(short_man, short_woman, id=f"s{n}", start_s=n / 10, end_s=n / 10 + 0.3)
        for n in range(6)
    ]
    job = {"job": "cancelled", "run": RUN, "recipe": RENDER_RECIPE, "shots": shots}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    ledger = Ledger(open_store(str(own)))
    before = len(ledger.committed("render-film"))

    words = ["render", tmp_path / "job.yaml", "--store", own, "--ray", "none", "--json"]
    with cancelled("render cancelled", lambda: len(ledger.committed("render-film")) > before):
        ended = e3d_here(*words)
    assert ended.code == 130
    assert "job cancelled was cancelled; what was done is kept" in ended.err
    done = len(ledger.committed("render-film")) - before
    assert 0 < done < 6
    told = ledger.latest("jobs", "cancelled")
    assert told is not None
    outcomes = [row["reason"] for row in told["shots"]]  # type: ignore[index,union-attr,call-overload]
    assert outcomes.count("") == done == len(list((own / "deliver/cancelled").glob("*.mp4")))
    assert outcomes.count("cancelled") == 6 - done
    again = e3d_here(*words)
    assert (again.code, {shot["outcome"] for shot in again.result["shots"]}) == (0, {"ok"})


def test_a_dub_of_its_own_is_heard_in_step_at_the_jobs_own_address(
    store: Path, short_man: Path, short_woman: Path, tmp_path: Path
) -> None:
    rate_hz, start_s = 16000, 0.3
    noise = np.random.default_rng(3).normal(0, 3000, 3 * rate_hz).astype(np.int16)
    wavfile.write(tmp_path / "mix.wav", rate_hz, noise)
    shot = film_shot(short_man, short_woman, start_s=0.2, end_s=0.9)
    shot["dub"] = {"file": str(tmp_path / "mix.wav"), "start_s": start_s}
    out = tmp_path / "out"
    (row,) = render(store, shot, job="mixed", deliver_to=str(out))["shots"]
    assert row["outcome"] == "ok", row["detail"]
    assert row["uri"] == str(out / "mixed/dub.mp4")
    assert {path.name for path in (out / "mixed").iterdir()} == {
        *("dub.mp4", "renders.parquet", "report.html")
    }
    assert not (store / "deliver/mixed").exists()
    heard = measure_sound_shift(
        out / "mixed/dub.mp4", tmp_path / "mix.wav", reference_start_s=start_s
    )
    assert heard.shift_s is not None
    assert abs(heard.shift_s) < 0.001
    assert row["av_offset_s"] == pytest.approx(heard.shift_s, abs=1e-4)


def test_a_job_can_name_its_weights(store: Path, short_man: Path, short_woman: Path) -> None:
    run = find_run(Ledger(open_store(str(store))), RUN)
    key = run.keys["export3d"]
    shot = film_shot(short_man, short_woman, end_s=0.2)
    assert render(store, shot, checkpoint=key)["shots"][0]["checkpoint_key"] == key
    with pytest.raises(ConfigurationError, match=r"checkpoint '0000.* is not in"):
        render(store, shot, checkpoint="0" * 64)
