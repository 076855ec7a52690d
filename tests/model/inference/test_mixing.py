"""Rows of many streams in common batches: everyone gets their own, in order, and no batch idles."""

from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.inference.mixing import FrameMixer


class Upper:
    """Renders letters as capitals, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[str] = []
        self._lock = Lock()

    def __call__(self, rows):
        assert self._lock.acquire(blocking=False), "two batches at once"
        self.batches.append("".join(rows))
        self._lock.release()
        return Batch("".join(rows).upper())


class Batch:
    def __init__(self, frames: str) -> None:
        self._frames = frames

    def frame(self, index: int) -> str:
        return self._frames[index]


def test_a_stream_alone_is_rendered_in_batches_as_its_frames_are_taken():
    render = Upper()
    frames = FrameMixer(render, batch=3).stream("abcdefg")
    assert render.batches == []
    assert [next(frames) for _ in range(4)] == list("ABCD")
    assert render.batches == ["abc", "def"]
    assert list(frames) == list("EFG")
    assert render.batches == ["abc", "def", "g"]


def test_one_batch_ahead_is_rendered_before_it_is_needed():
    render = Upper()
    frames = FrameMixer(render, batch=2, batches_ahead=1).stream("abcdef")
    assert next(frames) == "A"
    assert render.batches == ["ab", "cd"]
    assert next(frames) == "B"
    assert next(frames) == "C"
    assert render.batches == ["ab", "cd", "ef"]


def test_what_room_a_shot_leaves_others_fill():
    render = Upper()
    mixer = FrameMixer(render, batch=4, batches_ahead=1)
    one, other = mixer.stream("abcdef"), mixer.stream("uvwxyz")
    assert next(other) == "U"  # the first has not begun, so it takes no part yet
    assert next(one) == "A"
    assert render.batches[:2] == ["uvwx", "yz"]
    assert render.batches[2:] == ["abcd", "ef"]
    late = mixer.stream("ij")
    assert next(late) == "I"
    assert "".join(one) + "".join(other) + "".join(late) == "BCDEFVWXYZJ"


@given(
    shots=st.lists(st.text("abcdefgh", max_size=12), max_size=6),
    batch=st.integers(1, 5),
    ahead=st.integers(0, 2),
    order=st.randoms(use_true_random=False),
)
def test_everyone_gets_their_own_frames_in_order(shots, batch, ahead, order):
    render = Upper()
    mixer = FrameMixer(render, batch, ahead)
    streams = [mixer.stream(shot) for shot in shots]
    got = [""] * len(shots)
    turns = [index for index, shot in enumerate(shots) for _ in shot]
    order.shuffle(turns)
    for index in turns:
        got[index] += next(streams[index])
    assert got == [shot.upper() for shot in shots]
    assert all(next(stream, None) is None for stream in streams)
    assert all(len(rows) <= batch for rows in render.batches)
    assert sum(map(len, render.batches)) == sum(map(len, shots))


def test_threads_take_frames_at_the_same_time():
    shots = [chr(97 + n) * (20 + n) for n in range(6)]
    mixer = FrameMixer(Upper(), batch=4, batches_ahead=1)
    with ThreadPoolExecutor(len(shots)) as pool:
        got = list(pool.map(lambda shot: "".join(mixer.stream(shot)), shots))
    assert got == [shot.upper() for shot in shots]


def test_a_batch_that_fails_ends_its_own_shot_and_takes_nothing_from_the_others():
    class Once(Upper):
        def __call__(self, rows):
            if "x" in rows:
                raise RuntimeError("no memory")
            return super().__call__(rows)

    mixer = FrameMixer(Once(), batch=4, batches_ahead=1)
    good, bad = mixer.stream("abcdefghij"), mixer.stream("uvwxyz")
    assert next(good) == "A"
    with pytest.raises(RuntimeError, match="no memory"):
        list(bad)
    assert "".join(good) == "BCDEFGHIJ"
