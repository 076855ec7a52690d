"""Thresholds, their precedence, and when a whole clip goes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.outcomes import FrameOutcome
from preprocess.quality.scores import (
    FrameScores,
    QualityConfig,
    QualityReason,
    frame_reasons,
    judge_clip,
    judge_frames,
)

CONFIG = QualityConfig(occlusion_margin_frames=0)
BAD = {
    QualityReason.OCCLUDED: ("occlusion", 0.2, FrameOutcome.OCCLUDED),
    QualityReason.TURNED_AWAY: ("yaw_rad", -1.2, FrameOutcome.OUT_OF_RANGE),
    QualityReason.BADLY_FITTED: ("reprojection", 0.1, FrameOutcome.LOW_CONFIDENCE),
    QualityReason.BLURRY: ("sharpness", 10.0, FrameOutcome.LOW_CONFIDENCE),
}


def _scores(frames=10, **given_T):
    good = {"sharpness": 80.0, "occlusion": 0.0, "yaw_rad": 0.1, "reprojection": 0.002}
    return FrameScores(**{key: given_T.get(key, np.full(frames, good[key])) for key in good})


def _spoilt(reason, which, frames=10):
    field, value, _ = BAD[reason]
    values = getattr(_scores(frames), field).copy()
    values[which] = value
    return _scores(frames, **{field: values})


def test_good_frames_are_kept():
    assert judge_frames(_scores(), QualityConfig()) == [FrameOutcome.OK] * 10
    assert judge_clip(_scores(), QualityConfig()) == ""


@pytest.mark.parametrize("reason", BAD)
@pytest.mark.parametrize("value", ["bad", np.nan])
def test_each_score_has_its_reason_and_its_outcome(reason, value):
    field, bad, outcome = BAD[reason]
    values = getattr(_scores(), field).copy()
    values[4] = bad if value == "bad" else value
    scores = _scores(**{field: values})
    assert frame_reasons(scores, CONFIG)[4] == reason
    assert judge_frames(scores, CONFIG)[4] is outcome
    assert judge_frames(scores, CONFIG).count(FrameOutcome.OK) == 9
    assert judge_clip(scores, CONFIG) == ""


@pytest.mark.parametrize("reason", BAD)
def test_a_clip_goes_with_more_than_half_of_its_frames(reason):
    assert judge_clip(_spoilt(reason, slice(0, 5)), CONFIG) == ""
    assert judge_clip(_spoilt(reason, slice(0, 6)), CONFIG) == reason


def test_the_clip_takes_the_reason_of_most_frames():
    blurred = np.full(10, 80.0)
    blurred[3:] = 5
    turned = np.zeros(10)
    turned[:3] = 1.3
    assert judge_clip(_scores(sharpness=blurred, yaw_rad=turned), CONFIG) == "blurry"


def test_occlusion_speaks_before_what_it_causes():
    covered, missed = np.zeros(10), np.full(10, 0.002)
    covered[5], missed[5] = 0.3, 0.1
    scores = _scores(occlusion=covered, reprojection=missed)
    assert frame_reasons(scores, CONFIG)[5] is QualityReason.OCCLUDED


def test_frames_beside_an_occluded_one_count_too():
    scores = _spoilt(QualityReason.OCCLUDED, [1, 12], frames=20)
    outcomes = judge_frames(scores, QualityConfig(occlusion_margin_frames=3))
    hidden = [t for t, outcome in enumerate(outcomes) if outcome is FrameOutcome.OCCLUDED]
    assert hidden == [*range(5), *range(9, 16)]


def test_both_sides_of_the_yaw_limit():
    yaw = np.deg2rad([-61, -59, 0, 59, 61])
    reasons = frame_reasons(_scores(5, yaw_rad=yaw), CONFIG)
    assert reasons == ["turned_away", "", "", "", "turned_away"]


def test_a_clip_without_frames_is_not_for_quality_to_judge():
    assert judge_frames(_scores(0), QualityConfig()) == []
    assert judge_clip(_scores(0), QualityConfig()) == ""


def test_scores_of_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match=r"\[9, 10\]"):
        _scores(occlusion=np.zeros(9))


@pytest.mark.parametrize("field", ["min_sharpness", "max_occlusion", "max_yaw_rad",
                                   "occlusion_margin_frames", "max_lost_part"])  # fmt: skip
def test_thresholds_out_of_range_are_refused_by_name(field):
    with pytest.raises(ValueError, match=field):
        QualityConfig(**{field: -1})
    if field in {"max_occlusion", "max_lost_part"}:
        with pytest.raises(ValueError, match=field):
            QualityConfig(**{field: 1.5})
    with pytest.raises(ValueError, match=field):
        QualityConfig(**{field: float("nan")})


@given(st.lists(st.tuples(*[st.floats(0, 2)] * 4), min_size=1, max_size=30))
def test_a_stricter_recipe_keeps_no_further_frame(rows):
    occlusion, yaw_rad, reprojection, sharpness = np.array(rows).T
    scores = FrameScores(60 * sharpness, occlusion / 20, yaw_rad, reprojection / 50)
    strict = QualityConfig(min_sharpness=50, max_occlusion=0.01, max_yaw_rad=0.5,
                           max_reprojection=0.005)  # fmt: skip
    loose = judge_frames(scores, QualityConfig())
    for kept, outcome in zip(judge_frames(scores, strict), loose, strict=True):
        assert kept is not FrameOutcome.OK or outcome is FrameOutcome.OK
