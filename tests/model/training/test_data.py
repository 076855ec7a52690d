import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.training.clebs_data import ClebsSampler, SpacedFrames, jitter
from model.training.data import (
    ArrayFrames,
    Clip,
    FrameBank,
    PairSampler,
    TrainingDataError,
    resize_antialiased,
    to_bytes,
    to_signed,
)


class CountingFrames(ArrayFrames):
    read = 0

    def batch(self, indices):
        CountingFrames.read += len(indices)
        return super().batch(indices)


def _clip(name: str, n_frames: int, usable=None, side: int = 32) -> Clip:
    rng = np.random.default_rng(n_frames)
    frames = rng.integers(0, 256, (n_frames, side, side, 3), dtype=np.uint8)
    numbers = np.arange(n_frames, dtype=np.float32)[:, None]
    return Clip(
        clip_id=name,
        person=name,
        frames=CountingFrames(frames),
        expression_TE=np.repeat(numbers, 64, axis=1),
        camera_T25=np.repeat(numbers, 25, axis=1),
        usable_T=np.ones(n_frames, bool) if usable is None else usable,
    )


def _pairs(clips, seed=0, batch=4, px=32):
    return PairSampler(clips, FrameBank(clips, px, 10**9), batch, seed)


def test_pairs_are_two_distinct_usable_frames_of_one_clip_with_the_driving_label():
    usable = np.zeros(20, bool)
    usable[[3, 7, 11]] = True
    clips = [_clip("a", 20, usable), _clip("b", 5), _clip("lonely", 4, np.eye(4, dtype=bool)[0])]
    sampler = _pairs(clips)
    seen = set()
    for step in range(50):
        batch = sampler.batch(step)
        for row, (clip, source, driving) in enumerate(sampler.pairs(step)):
            seen.add(clip)
            assert source != driving
            assert clips[clip].usable_T[[source, driving]].all()
            assert (batch.expression_BE[row] == driving).all()
            assert (batch.camera_B25[row] == driving).all()
            frames = clips[clip].frames.frames_THWC
            assert np.array_equal(to_bytes(batch.source_BCHW[row : row + 1])[0], frames[source])
            assert np.array_equal(to_bytes(batch.driving_BCHW[row : row + 1])[0], frames[driving])
    assert seen == {0, 1}


def test_a_step_depends_on_seed_and_number_alone():
    clips = [_clip("a", 30), _clip("b", 30)]
    first, second = _pairs(clips), _pairs(clips)
    _ = [first.pairs(step) for step in range(5)]
    assert first.pairs(9) == second.pairs(9)
    assert first.pairs(9) != first.pairs(10)
    assert first.pairs(9) != _pairs(clips, seed=1).pairs(9)


def test_clips_without_pairs_are_one_clear_error():
    with pytest.raises(TrainingDataError, match="no clip has two usable frames"):
        _pairs([_clip("a", 4, np.zeros(4, bool))])
    with pytest.raises(TrainingDataError, match="clip a has 4 frames but labels for"):
        _clip("a", 4, np.ones(3, bool))


def test_frames_are_read_once_while_they_fit():
    clips = [_clip("a", 6)]
    CountingFrames.read = 0
    bank = FrameBank(clips, 16, cache_bytes=4 * 16 * 16 * 3)
    first = bank.images(0, [0, 1, 2, 3])
    assert np.array_equal(bank.images(0, [3, 2, 1, 0]), first[::-1])
    assert CountingFrames.read == 4
    assert np.array_equal(bank.images(0, [4, 4, 0])[0], bank.images(0, [4])[0])
    assert CountingFrames.read == 6


def test_shrinking_is_antialiased():
    checker = np.indices((64, 64)).sum(axis=0) % 2 * 255
    image = np.repeat(checker[None, :, :, None], 3, axis=3).astype(np.uint8)
    small = to_bytes(resize_antialiased(to_signed(image), 16))
    assert small[0, 2:-2, 2:-2].std() < 3
    assert abs(float(small.mean()) - 127.5) < 3


@settings(max_examples=60, deadline=None)
@given(
    st.sets(st.integers(0, 60), min_size=1),
    st.integers(1, 8),
    st.integers(1, 8),
    st.integers(0, 99),
)
def test_spaced_frames_keep_their_distance(usable, count, gap, seed):
    frames = np.array(sorted(usable))
    most = SpacedFrames.most(frames, gap)
    count = min(count, most)
    drawn = SpacedFrames(frames, count, gap).draw(np.random.default_rng(seed))
    assert len(drawn) == count
    assert set(drawn) <= usable
    assert all(b - a >= gap for a, b in itertools.pairwise(drawn))


def test_spaced_sets_are_drawn_alike():
    spaced = SpacedFrames(np.arange(5), 2, 2)
    rng = np.random.default_rng(0)
    drawn = [tuple(spaced.draw(rng)) for _ in range(3000)]
    counts = {pair: drawn.count(pair) for pair in set(drawn)}
    assert set(counts) == {(0, 2), (0, 3), (0, 4), (1, 3), (1, 4), (2, 4)}
    assert min(counts.values()) > 400


def _clebs(clips, **changes):
    values = {
        "clips_per_batch": 2, "frames_per_clip": 5, "min_gap_frames": 3, "allow_fewer": False,
        "seed": 0,
    } | changes  # fmt: skip
    return ClebsSampler(clips, FrameBank(clips, 16, 10**9), **values)


def test_clebs_groups_come_from_clips_that_can_supply_them():
    clips = [_clip("a", 40), _clip("short", 12), _clip("c", 13)]
    sampler = _clebs(clips)
    batch = sampler.batch(3)
    assert batch.images_VFCHW.shape == (2, 5, 3, 16, 16)
    for step in range(20):
        groups = sampler.groups(step)
        assert sorted(clip for clip, _ in groups) == [0, 2]
    assert sampler.groups(7) == _clebs(clips).groups(7)
    _, frames = sampler.groups(3)[0]
    assert batch.expression_VFE[0, :, 0].tolist() == frames


def test_poor_clips_are_an_error_or_shrink_the_groups():
    clips = [_clip("a", 10)]
    with pytest.raises(TrainingDataError, match=r"no clip has 5 usable frames 3 frames apart"):
        _clebs(clips)
    sampler = _clebs(clips, allow_fewer=True)
    assert sampler.frames_per_clip == 4
    assert sampler.batch(0).images_VFCHW.shape[:2] == (2, 4)
    with pytest.raises(TrainingDataError, match="the best has 1"):
        _clebs([_clip("tiny", 2)], allow_fewer=True)


def test_jitter_is_mild_and_repeatable():
    images = to_signed(_clip("a", 8).frames.batch(range(8)))
    soft = torch.nn.functional.avg_pool2d(images, 9, stride=1, padding=4)
    moved = jitter(soft, 1.0, (0, 3))
    assert torch.equal(moved, jitter(soft, 1.0, (0, 3)))
    assert not torch.equal(moved, jitter(soft, 1.0, (0, 4)))
    assert torch.equal(jitter(soft, 0.0, (0, 3)), soft)
    assert 0.005 < float((moved - soft).abs().mean()) < 0.2
