"""Expressions at other times: exact at the nodes, straight between, unknown in gaps and outside."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.inference.retime import nearest_frames, retime_expression

PTS_S = np.array([0.0, 0.04, 0.08, 1.0, 1.04])
EXP = np.arange(10, dtype=np.float32).reshape(5, 2)


def test_nodes_keep_their_values() -> None:
    exp, known = retime_expression(PTS_S, EXP, PTS_S)
    assert known.all()
    np.testing.assert_array_equal(exp, EXP)


def test_halfway_is_the_mean() -> None:
    exp, known = retime_expression(PTS_S, EXP, np.array([0.02, 1.02]))
    assert known.all()
    np.testing.assert_allclose(exp, [[1, 2], [7, 8]], atol=1e-5)


def test_gaps_and_the_outside_are_unknown_and_zero() -> None:
    exp, known = retime_expression(PTS_S, EXP, np.array([-0.01, 0.5, 1.05]))
    assert not known.any()
    assert not exp.any()


def test_a_performance_without_a_face_knows_nothing() -> None:
    _, known = retime_expression(np.zeros(0), np.zeros((0, 64), np.float32), np.array([0.0]))
    assert not known.any()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_a_straight_line_stays_one(times: list[float]) -> None:
    pts_s = np.linspace(0, 1, 26)
    exp, known = retime_expression(
        pts_s, np.stack([pts_s, 2 * pts_s], 1).astype(np.float32), np.array(sorted(times))
    )
    assert known.all()
    np.testing.assert_allclose(exp[:, 1], 2 * np.array(sorted(times)), atol=1e-5)


def test_shots_are_not_mixed_at_a_cut() -> None:
    shots = np.array(["a", "a", "b", "c", "c"])
    at_s = np.array([0.02, 0.05, 0.06, 0.07, 0.08])
    exp, known = retime_expression(PTS_S, EXP, at_s, segment_T=shots)
    assert known.all()
    np.testing.assert_allclose(exp[:, 0], [1, 2, 2, 4, 4], atol=1e-5)
    assert shots[nearest_frames(PTS_S, at_s)].tolist() == ["a", "a", "a", "b", "b"]


def test_the_nearest_frame_is_found_also_outside_and_in_gaps() -> None:
    at_s = np.array([-1.0, 0.0, 0.019, 0.5, 0.6, 2.0])
    assert nearest_frames(PTS_S, at_s).tolist() == [0, 0, 0, 2, 3, 4]
    with pytest.raises(ValueError, match="no frame"):
        nearest_frames(np.zeros(0), at_s)


@given(st.lists(st.floats(-1, 2), min_size=1, max_size=20))
def test_no_frame_is_nearer_than_the_nearest(times: list[float]) -> None:
    at_s = np.array(times)
    away_s = np.abs(PTS_S - at_s[:, None])
    found = nearest_frames(PTS_S, at_s)
    np.testing.assert_allclose(
        away_s[np.arange(len(at_s)), found], away_s.min(axis=1), rtol=0, atol=1e-12
    )
