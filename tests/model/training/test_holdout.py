"""Frames held out are trained on by nobody, and lie apart from those that are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.training.data import ArrayFrames, Clip
from model.training.holdout import Holdout, split


def clip(usable: list[bool]) -> Clip:
    n = len(usable)
    return Clip(
        clip_id="c",
        person="p",
        frames=ArrayFrames(np.zeros((n, 8, 8, 3), np.uint8)),
        expression_TE=np.zeros((n, 4), np.float32),
        camera_T25=np.zeros((n, 25), np.float32),
        usable_T=np.array(usable, bool),
    )


@given(
    st.lists(st.booleans(), min_size=1, max_size=80),
    st.floats(min_value=0.01, max_value=0.9),
    st.integers(min_value=0, max_value=9),
)
def test_parts_are_apart_and_lose_nothing_but_the_gap(
    usable: list[bool], share: float, gap: int
) -> None:
    whole = clip(usable)
    (trained,), (held,) = split([whole], Holdout(share, gap))
    trained_T, held_T = np.flatnonzero(trained.usable_T), np.flatnonzero(held.usable_T)
    if len(trained_T) and len(held_T):
        assert held_T.min() - trained_T.max() > gap
    lost = whole.usable_T & ~trained.usable_T & ~held.usable_T
    assert lost.sum() <= gap
    assert not (trained.usable_T & ~whole.usable_T).any()
    assert not (held.usable_T & ~whole.usable_T).any()


def test_share_is_of_the_clip() -> None:
    (trained,), (held,) = split([clip([True] * 100)], Holdout(0.2, 5))
    assert np.flatnonzero(trained.usable_T).tolist() == list(range(75))
    assert np.flatnonzero(held.usable_T).tolist() == list(range(80, 100))


def test_without_a_tail_all_frames_are_trained_on() -> None:
    (trained,), (held,) = split([clip([True] * 30)], Holdout())
    assert trained.usable_T.all()
    assert not held.usable_T.any()


@pytest.mark.parametrize("values", [(1.0, 5), (-0.1, 5), (0.2, -1)])
def test_what_cannot_be_is_refused(values: tuple[float, int]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        Holdout(*values)
