"""Batches from the background are those of the foreground, and so are its exceptions."""

import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from model.training.data import Clip, FrameBank, PairSampler
from model.training.prefetch import Prefetch

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Number:
    value: int

    def pinned(self):
        raise AssertionError("memory is pinned for a GPU only")


class Reader:
    """Frames that notice when two threads read them at a time."""

    def __init__(self, frames):
        self._frames = frames
        self._busy = threading.Lock()

    def __len__(self):
        return len(self._frames)

    def batch(self, indices):
        assert self._busy.acquire(blocking=False), "two threads read one clip"
        time.sleep(0.001)
        self._busy.release()
        return self._frames[np.asarray(indices)]


@pytest.fixture
def clips() -> list[Clip]:
    rng = np.random.default_rng(0)
    return [
        Clip(
            clip_id=name,
            person=name,
            frames=Reader(rng.integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)),
            expression_TE=rng.normal(size=(9, 64)).astype(np.float32),
            camera_T25=rng.normal(size=(9, 25)).astype(np.float32),
            usable_T=np.ones(9, bool),
        )
        for name in ("one", "two")
    ]


@pytest.mark.parametrize("cache_bytes", [0, 5 * 16 * 16 * 3, 10**9])
def test_batches_are_the_same_with_and_without(clips, cache_bytes, monkeypatch):
    monkeypatch.setattr("model.training.prefetch._THREADS", 4)
    monkeypatch.setattr("model.training.prefetch._STEPS_AHEAD", 8)
    plain = PairSampler(clips, FrameBank(clips, 16, 0), 4, 0)
    expected = {step: plain.batch(step) for step in range(3, 30)}
    ahead = Prefetch(PairSampler(clips, FrameBank(clips, 16, cache_bytes), 4, 0).batch, CPU)
    for step, wanted in expected.items():
        got = ahead.take(step)
        for name in ("source_BCHW", "driving_BCHW", "expression_BE", "camera_B25"):
            assert torch.equal(getattr(got, name), getattr(wanted, name))
    ahead.close()


def test_the_next_batches_are_made_while_one_is_in_use():
    made = set()

    def make(step: int) -> Number:
        made.add(step)
        return Number(step)

    ahead = Prefetch(make, CPU)
    assert ahead.take(5) == Number(5)
    deadline_s = time.monotonic() + 20
    while 6 not in made:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    ahead.close()


def test_an_exception_arrives_at_its_step():
    def make(step: int) -> Number:
        if step == 2:
            raise ValueError(f"step {step} is broken")
        return Number(step)

    ahead = Prefetch(make, CPU)
    assert [ahead.take(step).value for step in range(2)] == [0, 1]
    with pytest.raises(ValueError, match="step 2 is broken"):
        ahead.take(2)
    ahead.close()


def test_no_thread_is_left():
    before = threading.active_count()
    ahead = Prefetch(Number, CPU)
    ahead.take(0)
    assert threading.active_count() > before
    ahead.close()
    assert threading.active_count() == before


def test_a_batch_that_does_not_come_is_one_sentence(monkeypatch):
    monkeypatch.setattr("model.training.prefetch._PATIENCE_S", 0.05)
    go_on = threading.Event()

    def make(step: int) -> Number:
        go_on.wait(20)
        return Number(step)

    ahead = Prefetch(make, CPU)
    with pytest.raises(TimeoutError, match=r"the frames of step 8 took over 0\.05 s to read"):
        ahead.take(7)
    go_on.set()
    ahead.close()
