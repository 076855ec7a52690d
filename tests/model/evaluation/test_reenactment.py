import dataclasses

import numpy as np
import pytest

from model.evaluation.baseline import copies_of
from model.evaluation.metrics import METRICS, summarise
from model.evaluation.paper import COLUMNS, NOT_COMPARABLE, OURS, TABLES, VFHQ
from model.evaluation.reenactment import (
    EQUAL_IMAGES_DB,
    MeasuredFrames,
    cross_identity_metrics,
    of_the_film,
    same_identity_metrics,
)

NUMBERS = (4, 5, 6, 7, 20, 21)


class MeanDifference:
    """A perceptual distance that can be counted by hand."""

    name = "mean difference"

    def __call__(self, image_BCHW, target_BCHW):
        assert len(image_BCHW) == 1
        return (image_BCHW - target_BCHW).abs().mean()


def frames_of(seed, frames=6, side=16):
    rng = np.random.default_rng(seed)
    return MeasuredFrames(
        images_THWC=rng.integers(0, 256, (frames, side, side, 3), dtype=np.uint8),
        points_TK2=rng.normal(128, 20, (frames, 68, 2)),
        expression_TE=rng.normal(size=(frames, 64)),
        angles_T3=rng.normal(size=(frames, 3)),
        translation_T3=rng.normal(size=(frames, 3)),
        embedding_TD=rng.normal(size=(frames, 8)),
    )


def judged(frames, driving, source):
    return same_identity_metrics(frames, driving, source, NUMBERS, MeanDifference())


def test_the_driving_frames_themselves_score_best():
    driving, source = frames_of(1), frames_of(2, 1)
    found = judged(driving, driving, source)
    assert found.keys() == {metric.name for metric in METRICS}
    assert found["lpips"].compressed().tolist() == [0]
    for name in ("l1", "akd", "akd_sum", "aed", "apd3", "apd6"):
        assert found[name].tolist() == [0] * len(NUMBERS), name
    assert found["psnr"].tolist() == [EQUAL_IMAGES_DB] * len(NUMBERS)
    assert found["ssim"] == pytest.approx(1)


def test_copies_of_the_source_are_the_source_over_and_over():
    source, driving = frames_of(2, 1), frames_of(1)
    copied = judged(copies_of(source, len(driving)), driving, source)
    assert copied["csim"] == pytest.approx(1)
    assert copied["jitter"].compressed() == pytest.approx(0)
    expected = np.abs(source.expression_TE - driving.expression_TE).mean(axis=1)
    assert copied["aed"] == pytest.approx(expected)
    with pytest.raises(ValueError, match="a source is one frame, not 6"):
        copies_of(driving, 2)


def test_small_cases_by_hand():
    driving, source = frames_of(1), frames_of(2, 1)
    moved = dataclasses.replace(
        driving,
        images_THWC=np.full_like(driving.images_THWC, 51),
        points_TK2=driving.points_TK2 + np.array([3.0, 1.0]),
        expression_TE=driving.expression_TE + 0.25,
        angles_T3=driving.angles_T3 + 0.2,
        translation_T3=driving.translation_T3 - 0.4,
    )
    black = dataclasses.replace(driving, images_THWC=np.zeros_like(driving.images_THWC))
    found = judged(moved, black, source)
    assert found["l1"] == pytest.approx(0.2)
    assert found["lpips"].mask.tolist() == [False, *[True] * 5]  # every sixth frame
    assert found["lpips"].compressed() == pytest.approx([0.4], rel=1e-5)  # colours from -1 to 1
    assert found["psnr"] == pytest.approx(20 * np.log10(5))
    assert found["akd"] == pytest.approx(2)
    assert found["akd_sum"] == pytest.approx(4)
    assert found["aed"] == pytest.approx(0.25)
    assert found["apd3"] == pytest.approx(0.2)
    assert found["apd6"] == pytest.approx(0.3)


def test_jitter_looks_at_neighbours_alone():
    driving, source = frames_of(1), frames_of(2, 1)
    steady = np.array(NUMBERS, float)[:, None, None] * np.ones((1, 68, 2))
    steady[1] += 1.0  # frame 5 stands out by 1 px: second difference -2 there, 1 at frame 6
    found = cross_identity_metrics(
        dataclasses.replace(driving, points_TK2=steady), driving, source, NUMBERS
    )["jitter"]
    assert found.mask.tolist() == [True, False, False, True, True, True]
    assert found.compressed() == pytest.approx([2, 1])
    assert summarise(found).failed == 0


def test_flicker_looks_where_the_film_stands_still():
    driving, source = frames_of(1), frames_of(2, 1)
    film = np.zeros_like(driving.images_THWC)
    film[:, 8:] = np.arange(len(NUMBERS), dtype=np.uint8)[:, None, None, None] * 40
    generated = film.copy()
    generated[1, :8] = 51
    found = judged(
        dataclasses.replace(driving, images_THWC=generated),
        dataclasses.replace(driving, images_THWC=film),
        source,
    )["flicker"]
    assert found.mask.tolist() == [True, False, False, False, True, False]
    assert found.compressed() == pytest.approx([0.2, 0.2, 0, 0])
    moving = of_the_film(driving, source, NUMBERS)["flicker"]  # noise: nothing stands still
    assert moving.mask.all()


def test_a_frame_without_a_face_fails_and_does_not_vanish():
    driving, source = frames_of(1), frames_of(2, 1)
    gone = {
        name: np.where(np.arange(6).reshape(6, *[1] * (getattr(driving, name).ndim - 1)) == 2,
                       np.nan, getattr(driving, name))
        for name in ("points_TK2", "expression_TE", "angles_T3", "translation_T3", "embedding_TD")
    }  # fmt: skip
    found = judged(dataclasses.replace(driving, **gone), driving, source)
    for name in ("akd", "akd_sum", "aed", "apd3", "apd6", "csim"):
        assert (summarise(found[name]).measured, summarise(found[name]).failed) == (5, 1), name
    assert summarise(found["jitter"]).failed == 2  # frames 5 and 6, which need frame 6
    for name in ("psnr", "ssim", "l1", "lpips"):
        assert summarise(found[name]).failed == 0, name


def test_what_no_network_measures_is_left_out():
    driving = dataclasses.replace(frames_of(1), embedding_TD=None)
    source = dataclasses.replace(frames_of(2, 1), embedding_TD=None)
    found = same_identity_metrics(driving, driving, source, NUMBERS, None)
    assert {metric.name for metric in METRICS} - found.keys() == {"csim", "lpips"}
    assert of_the_film(driving, source, NUMBERS).keys() == {"jitter", "flicker"}


def test_the_film_itself_is_scored_where_copying_is_best():
    driving, source = frames_of(1), frames_of(2, 1)
    found = of_the_film(driving, source, NUMBERS)
    assert found.keys() == {metric.name for metric in METRICS if metric.copying_is_best}


def test_the_paper_is_told_as_it_is_printed():
    assert VFHQ.value(OURS, "same", "akd") == 3.453
    assert VFHQ.value(OURS, "cross", "apd6") == 0.080
    assert VFHQ.value(OURS, "cross", "akd") is None
    rows = [row for table in TABLES for row in table.rows.values()]
    assert {len(row) for row in rows} == {len(COLUMNS)}
    assert NOT_COMPARABLE.keys() == {metric.name for metric in METRICS}
