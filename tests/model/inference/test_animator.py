"""Frames out of a network: same bytes as the network's own, whatever is cached or batched."""

import shutil

import numpy as np
import pytest
import torch

from model.export3d.network import Export3D
from model.export3d.sizes import export3d_test
from model.inference.animator import Animator, Speed
from model.inference.mixing import FrameMixer

SIDE, FRAMES = 64, 7


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = Export3D(export3d_test())
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    network.update_plane_mean(torch.randn(4, 3, 8, 32, 32))
    return network.eval()


@pytest.fixture(scope="module")
def portrait():
    return np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def performance():
    rng = np.random.default_rng(1)
    pose = np.eye(4) * [1, -1, -1, 1]
    cameras = []
    for shift in rng.normal(0, 0.02, FRAMES):
        pose[:3, 3] = shift, -shift, 2.7
        cameras.append([*pose.ravel(), 4.2647, 0, 0.5, 0, 4.2647, 0.5, 0, 0, 1])
    return rng.normal(size=(FRAMES, 64)).astype(np.float32), np.array(cameras)


def animated(network, portrait, performance, batch, speed=None):
    animator = Animator(network, batch=batch, speed=speed)
    return frames_of(animator.portrait(portrait), performance)


def frames_of(portrait, performance):
    return np.stack(list(portrait.animate(*performance)))


def test_frames_from_cached_tokens_equal_the_uncached_ones(network, portrait, performance):
    frames = animated(network, portrait, performance, batch=1)
    assert frames.shape == (FRAMES, SIDE, SIDE, 3)
    assert frames.dtype == np.uint8
    source = torch.from_numpy(portrait).permute(2, 0, 1).unsqueeze(0) / 127.5 - 1
    for frame, exp, camera in zip(frames, *performance, strict=True):
        with torch.inference_mode():
            seen = network(
                source, torch.from_numpy(exp)[None], torch.from_numpy(camera)[None].float()
            )
        levels = ((seen.image_BCHW[0].clamp(-1, 1) + 1) * 127.5).round().byte()
        assert np.array_equal(frame, levels.permute(1, 2, 0).numpy())
    assert len(np.unique(frames.reshape(FRAMES, -1), axis=0)) == FRAMES


@pytest.mark.parametrize("batch", [2, 3, 8])
def test_batch_size_does_not_change_a_byte(network, portrait, performance, batch):
    alone = animated(network, portrait, performance, batch=1)
    assert np.array_equal(animated(network, portrait, performance, batch), alone)


def test_same_input_same_bytes_twice_and_after_another_source(network, portrait, performance):
    animator = Animator(network, batch=4)
    first = frames_of(animator.portrait(portrait), performance)
    other = frames_of(animator.portrait(portrait[:, ::-1]), performance)
    tensor = torch.from_numpy(portrait).permute(2, 0, 1) / 127.5 - 1
    again = frames_of(animator.portrait(tensor), performance)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_cutting_a_shot_does_not_change_a_byte(network, portrait, performance):
    exp, camera = performance
    whole = animated(network, portrait, performance, batch=8)
    part = animated(network, portrait, (exp[2:5], camera[2:5]), batch=8)
    assert np.array_equal(part, whole[2:5])


def test_frames_come_as_they_are_taken(network, portrait, performance):
    rendered = []
    hook = network.superres.register_forward_hook(lambda *_: rendered.append(1))
    frames = Animator(network, batch=2).portrait(portrait).animate(*performance)
    assert not rendered
    next(frames)
    assert len(rendered) == 1
    hook.remove()


def changed_levels(frames, reference):
    """Share of bytes that differ, and by how many levels at most."""
    difference = np.abs(frames.astype(int) - reference)
    return (difference > 0).mean(), difference.max()


def test_layout_in_memory_changes_hardly_a_byte(network, portrait, performance):
    plain = animated(network, portrait, performance, 1, Speed(channels_last=False))
    share, most = changed_levels(animated(network, portrait, performance, 1), plain)
    assert share < 1e-3
    assert most <= 1


def test_bfloat16_changes_bytes_by_few_levels(network, portrait, performance):
    exact = animated(network, portrait, performance, 1)
    short = (performance[0][:2], performance[1][:2])
    bf16 = animated(network, portrait, short, 1, Speed(precision="bf16"))
    difference = np.abs(bf16.astype(int) - exact[:2])
    assert 0 < difference.mean() < 1
    assert difference.max() <= 16


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler here")
def test_compiled_frames_differ_by_rounding_only(network, portrait, performance):
    exact = animated(network, portrait, performance, 1)
    compiled = animated(network, portrait, performance, 1, Speed(compiled=True))
    share, most = changed_levels(compiled, exact)
    assert share < 1e-3
    assert most <= 1


def test_batches_that_run_ahead_come_in_order_and_all_of_them(network, portrait, performance):
    alone = animated(network, portrait, performance, batch=1)
    portrait = in_batches(network, 4).portrait(portrait)
    _, most = changed_levels(frames_of(portrait, performance), alone)
    assert most <= 1


def test_portraits_side_by_side_share_batches_and_stay_themselves(network, portrait, performance):
    others = [portrait, portrait[:, ::-1], portrait[::-1]]
    alone = [animated(network, other, performance, batch=1) for other in others]
    batches = []
    hook = network.superres.register_forward_hook(lambda _net, _in, out: batches.append(len(out)))
    animator = in_batches(network, 4)
    streams = [animator.portrait(other).animate(*performance) for other in others]
    together = [np.stack(frames) for frames in zip(*zip(*streams, strict=True), strict=True)]
    hook.remove()
    for frames, own in zip(together, alone, strict=True):
        _, most = changed_levels(frames, own)
        assert most <= 1
    # Three times seven frames: six batches of four, where each by itself would need two.
    assert batches == [4] * 6


def in_batches(network, batch):
    """An animator as on a GPU, where a batch is computed while the one before is used."""
    animator = Animator(network)
    animator._batch = batch
    animator._mixer = FrameMixer(animator._render, batch, batches_ahead=1)
    return animator


def test_a_larger_crop_is_reduced_without_aliasing(network, portrait, performance):
    large = portrait.repeat(4, axis=0).repeat(4, axis=1)
    exact = animated(network, portrait, performance, 8).astype(int)
    reduced = animated(network, large, performance, 8).astype(int)
    assert np.abs(exact - reduced).mean() < 10
    striped = np.zeros((256, 256, 3), np.uint8)
    striped[:, ::2] = 255  # averages to grey; without a filter it would be black or white
    grey = np.full((SIDE, SIDE, 3), 128, np.uint8)
    difference = animated(network, striped, performance, 8).astype(int) - animated(
        network, grey, performance, 8
    )
    assert np.abs(difference).mean() < 3


def test_no_frames_for_no_performance(network, portrait, performance):
    empty = (performance[0][:0], performance[1][:0])
    assert list(Animator(network).portrait(portrait).animate(*empty)) == []


def test_bad_calls_are_refused_before_the_first_frame(network, portrait, performance):
    exp, camera = performance
    animated = Animator(network).portrait(portrait)
    with pytest.raises(ValueError, match=r"expressions are \[T, 64\], not float32 \[7, 63\]"):
        animated.animate(exp[:, 1:], camera)
    with pytest.raises(ValueError, match=r"camera labels are \[T, 25\]"):
        animated.animate(exp, camera[:, :16])
    with pytest.raises(ValueError, match="7 expressions but 6 camera labels"):
        animated.animate(exp, camera[1:])
    broken = exp.copy()
    broken[3, 5] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        animated.animate(broken, camera)
    with pytest.raises(ValueError, match="batch is 0"):
        Animator(network, batch=0)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8, 3), np.float32), r"uint8 \[H, W, 3\], not float32 \[8, 8, 3\]"),
        (np.zeros((8, 8), np.uint8), r"uint8 \[H, W, 3\]"),
        (np.zeros((8, 9, 3), np.uint8), "square"),
        (torch.zeros(8, 8, 3), r"float \[3, H, W\]"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), r"float \[3, H, W\]"),
    ],
)
def test_bad_sources_are_refused(network, image, message):
    with pytest.raises(ValueError, match=message):
        Animator(network).portrait(image)
