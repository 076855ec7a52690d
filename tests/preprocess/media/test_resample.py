import itertools
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocess.media.resample import resample_constant


def brute_force(times: list[Fraction], fps: Fraction) -> list[tuple[int, int]]:
    """Every tick up to the last frame, each compared with all frames."""
    ticks = []
    for tick in itertools.count():
        at = times[0] + tick / fps
        if at > times[-1]:
            return ticks
        ticks.append((tick, min(range(len(times)), key=lambda i: (abs(times[i] - at), times[i]))))
    raise AssertionError


times_s = st.builds(
    lambda start, gaps, base: [
        Fraction(start + offset, base) for offset in itertools.accumulate([0, *gaps])
    ],
    st.integers(-5000, 5000),
    st.lists(st.integers(1, 60), max_size=12),
    st.sampled_from([25, 48, 60, 125, 1000]),
)


@settings(deadline=None)
@given(times_s, st.sampled_from([Fraction(25), Fraction(24), Fraction(30000, 1001)]))
def test_agrees_with_comparing_every_tick_with_every_frame(times, fps):
    given_ticks = list(resample_constant(((t, i) for i, t in enumerate(times)), fps))
    assert given_ticks == brute_force(times, fps)


@pytest.mark.parametrize(
    "rate",
    ["30", "30000/1001", "24000/1001", "60", "221/10", "25", "50", "5", "24"],
)
@pytest.mark.parametrize("frames", [1, 2, 3, 72, 300, 301])
def test_count_of_ticks_follows_the_closed_form(rate, frames):
    rate = Fraction(rate)
    ticks = list(resample_constant((Fraction(i) / rate, i) for i in range(frames)))
    assert len(ticks) == (frames - 1) * 25 // rate + 1
    assert [tick for tick, _ in ticks] == list(range(len(ticks)))


@pytest.mark.parametrize(
    ("rate", "frames", "ticks"),
    [
        ("30", 300, 250),
        ("60", 300, 125),
        ("25", 300, 300),
        ("50", 300, 150),
        ("24000/1001", 472, 492),
    ],
)
def test_count_of_ticks_in_numbers(rate, frames, ticks):
    source = ((Fraction(i) / Fraction(rate), i) for i in range(frames))
    assert sum(1 for _ in resample_constant(source)) == ticks


def test_a_film_at_the_target_rate_passes_unchanged_whatever_its_start():
    source = [(Fraction(3, 2) + Fraction(i, 25), i) for i in range(100)]
    assert list(resample_constant(source)) == [(i, i) for i in range(100)]


def test_midway_between_two_frames_the_earlier_one_is_shown():
    source = [(Fraction(0), "a"), (Fraction(2, 25), "b")]
    assert list(resample_constant(source)) == [(0, "a"), (1, "a"), (2, "b")]


def test_no_frames_give_no_ticks():
    assert list(resample_constant([])) == []


def test_takes_frames_one_at_a_time():
    taken = []

    def source():
        for i in range(1000):
            taken.append(i)
            yield Fraction(i, 25), i

    ticks = resample_constant(source())
    assert next(ticks) == (0, 0)
    assert len(taken) <= 2


@pytest.mark.parametrize("second", [Fraction(0), Fraction(-1)])
def test_refuses_times_that_do_not_increase(second):
    with pytest.raises(ValueError, match="times must increase"):
        list(resample_constant([(Fraction(0), 0), (second, 1)]))
