import math

import pytest

from pipeline.evaluation.summary import summary_of


def row(clip="a", frame=0, reason="", **values):
    found = {"akd": 1.0, "copy_akd": 2.0, "psnr": 20.0, "copy_psnr": 25.0, **values}
    return {
        "source_clip": "s",
        "source_frame": 0,
        "driving_clip": clip,
        "driving_frame": frame,
        "person": "p",
        "seen": "held out",
        "reason": reason,
        **found,
    }


ROWS = [
    row(),
    row(frame=1, akd=3.0, csim=0.5, copy_csim=1.0, driver_csim=0.9),
    row(clip="b", akd=math.nan, reason="no_face in generated", jitter=None, copy_jitter=None),
]


def test_failures_are_counted_and_in_no_mean():
    summary = summary_of(ROWS)
    assert (summary["pairs"], summary["frames"], summary["failed"]) == (2, 3, 1)
    assert summary["reasons"] == {"no_face in generated": 1}
    assert summary["seen"] == {"held out": 3}
    assert summary["metrics"]["akd"] == {
        "generated": {"mean": 2.0, "measured": 2, "failed": 1},
        "copy": {"mean": 2.0, "measured": 3, "failed": 0},
        "better_share": 0.5,
    }


def test_higher_is_better_where_it_is():
    assert summary_of(ROWS)["metrics"]["psnr"]["better_share"] == 0
    turned = [row(psnr=30.0), row(psnr=20.0), row(psnr=25.0)]
    assert summary_of(turned)["metrics"]["psnr"]["better_share"] == pytest.approx(1 / 3)


def test_what_applies_to_no_frame_is_left_out_and_no_share_stands_where_copying_is_best():
    metrics = summary_of(ROWS)["metrics"]
    assert metrics.keys() == {"psnr", "akd", "csim"}
    assert metrics["csim"] == {
        "generated": {"mean": 0.5, "measured": 1, "failed": 0},
        "copy": {"mean": 1.0, "measured": 1, "failed": 0},
        "driver": {"mean": 0.9, "measured": 1, "failed": 0},
    }


def test_a_mean_of_nothing_is_none():
    metrics = summary_of([row(akd=math.nan, reason="x")])["metrics"]
    assert metrics["akd"]["generated"] == {"mean": None, "measured": 0, "failed": 1}
    assert metrics["akd"]["better_share"] is None


def test_each_driving_clip_has_its_own_numbers():
    first, second = summary_of(ROWS)["by_clip"]
    assert (first["driving_clip"], first["frames"], first["failed"]) == ("a", 2, 0)
    assert (second["driving_clip"], second["frames"], second["failed"]) == ("b", 1, 1)
    assert first["metrics"]["akd"]["generated"]["mean"] == 2.0
