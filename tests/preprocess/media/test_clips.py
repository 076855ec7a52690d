import os
import random
from fractions import Fraction

import av
import ffmpeg
import numpy as np
import pytest

from preprocess.media.clips import (
    KEYFRAME_INTERVAL,
    BrokenClip,
    ClipReader,
    ClipWriter,
    read_in_order,
)
from preprocess.media.ffmpeg import run_ffmpeg


def write_clip(path, pictures, fps=25, **settings):
    pictures = list(pictures)
    height, width = pictures[0].shape[:2]
    with ClipWriter(path, width, height, fps, **settings) as clip:
        for picture in pictures:
            clip.write(picture)
    return path


def read_in_random_order(path, read_index):
    reader = ClipReader(path)
    order = list(range(len(reader)))
    random.Random(0).shuffle(order)
    shown = {i: read_index(reader[i]) for i in order}
    return [shown[i] for i in sorted(shown)]


@pytest.fixture
def noise():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (64, 96, 3), np.uint8) for _ in range(25)]


@pytest.mark.parametrize("fps", [25, Fraction(30000, 1001), 60])
@pytest.mark.parametrize(
    ("first", "last"), [(0, None), (0, 0), (9, 11), (10, 24), (37, 44), (44, 44)]
)
def test_frames_in_order_from_anywhere_are_the_right_ones(
    first, last, fps, tmp_path, paint, read_index
):
    path = write_clip(tmp_path / "clip.mp4", map(paint, range(45)), fps)
    shown = [read_index(frame) for frame in read_in_order(path, first, last)]
    assert shown == list(range(first, 45 if last is None else last + 1))


def test_both_readers_see_the_same_picture(tmp_path, paint):
    path = write_clip(tmp_path / "clip.mp4", map(paint, range(12)))
    reader = ClipReader(path)
    for index, frame in enumerate(read_in_order(path)):
        off = np.abs(frame.astype(int) - reader[index])
        assert off.mean() < 1  # chroma is interpolated in different ways


@pytest.mark.parametrize(("first", "last"), [(-1, 3), (3, 2), (0, 25), (25, 25)])
def test_frames_that_are_not_there_are_refused(first, last, tmp_path, noise):
    path = write_clip(tmp_path / "clip.mp4", noise)
    with pytest.raises(IndexError, match="of a clip of 25 frames"):
        next(read_in_order(path, first, last))


def test_damage_is_not_passed_over_in_order(tmp_path, noise):
    path = write_clip(tmp_path / "clip.mp4", noise)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    path.write_bytes(content)
    with pytest.raises(BrokenClip):
        list(read_in_order(path))


@pytest.mark.parametrize("frames", [1, 2, KEYFRAME_INTERVAL, 3 * KEYFRAME_INTERVAL + 1, 120])
def test_every_frame_is_read_back_by_its_index_in_any_order(frames, tmp_path, paint, read_index):
    path = write_clip(tmp_path / "clip.mp4", map(paint, range(frames)))
    assert read_in_random_order(path, read_index) == list(range(frames))


@pytest.mark.parametrize("size", [(256, 256), (193, 96), (192, 97), (191, 95), (60, 34)])
def test_size_is_kept_exactly_odd_or_even(size, tmp_path, paint, read_index):
    width, height = size
    path = write_clip(tmp_path / "clip.mp4", (paint(i, width, height) for i in range(12)))
    reader = ClipReader(path)
    assert reader[0].shape == (height, width, 3)
    assert [read_index(rgb) for rgb in reader.batch([11, 0, 5, 5, -1])] == [11, 0, 5, 5, 11]


def test_clip_holds_what_decord_needs(tmp_path, noise):
    path = write_clip(tmp_path / "clip.mp4", noise, fps=25)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [p for p in container.demux(stream) if p.pts is not None]
        assert [p.pts * stream.time_base for p in packets] == [Fraction(i, 25) for i in range(25)]
        assert all(p.pts == p.dts for p in packets)
        keys = [i for i, p in enumerate(packets) if p.is_keyframe]
        assert keys == list(range(0, 25, KEYFRAME_INTERVAL))
        assert stream.average_rate == 25
        assert stream.duration * stream.time_base == 1
        context = stream.codec_context
        assert (context.color_range, context.colorspace) == (1, 1)
        assert (context.color_primaries, context.color_trc) == (1, 1)
        assert context.pix_fmt == "yuv420p"
    assert b"edts" not in path.read_bytes()


def test_colours_come_back(tmp_path):
    colours = [(200, 60, 40), (30, 180, 90), (60, 50, 220), (128, 128, 128), (255, 255, 255)]
    path = write_clip(tmp_path / "clip.mp4", (np.full((256, 256, 3), c, np.uint8) for c in colours))
    for rgb, colour in zip(ClipReader(path).batch(range(5)), colours, strict=True):
        assert np.abs(rgb.reshape(-1, 3).mean(0) - colour).max() < 2.5


def test_same_pixels_give_the_same_bytes(tmp_path, noise):
    first = write_clip(tmp_path / "a.mp4", noise).read_bytes()
    assert write_clip(tmp_path / "other name.mp4", noise).read_bytes() == first
    noise[24][0, 0] ^= 255
    assert write_clip(tmp_path / "c.mp4", noise, crf=0).read_bytes() != first


def test_lower_crf_keeps_more(tmp_path, noise):
    def error(crf):
        path = write_clip(tmp_path / f"{crf}.mp4", noise, crf=crf)
        return np.abs(ClipReader(path).batch(range(25)).astype(int) - np.stack(noise)).mean()

    assert error(8) < error(40)


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), 24, 50])
def test_other_rates(fps, tmp_path, paint, read_index):
    path = write_clip(tmp_path / "clip.mp4", map(paint, range(70)), fps=fps)
    assert ClipReader(path).fps == fps
    assert read_in_random_order(path, read_index) == list(range(70))


def test_nothing_is_seen_before_the_end_and_nothing_left_after_a_failure(tmp_path, noise):
    path = tmp_path / "clip.mp4"

    def fail_half_way():
        with ClipWriter(path, 96, 64) as clip:
            clip.write(noise[0])
            assert not path.exists()
            raise LookupError

    with pytest.raises(LookupError):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_take_its_name_is_not_left_under_another(tmp_path, noise):
    (tmp_path / "clip.mp4").mkdir()
    with pytest.raises(IsADirectoryError):
        write_clip(tmp_path / "clip.mp4", noise)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_clip_without_frames_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="at least one frame"),
        ClipWriter(tmp_path / "clip.mp4", 96, 64),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "frame",
    [np.zeros((64, 98, 3), np.uint8), np.zeros((64, 96), np.uint8), np.zeros((64, 96, 3), float)],
)
def test_a_frame_of_another_shape_or_type_is_refused(frame, tmp_path, noise):
    with (
        pytest.raises(ValueError, match="a frame of"),
        ClipWriter(tmp_path / "clip.mp4", 96, 64) as clip,
    ):
        clip.write(frame)
    assert list(tmp_path.iterdir()) == []


def test_frames_that_are_views_are_written_as_they_look(tmp_path, paint, read_index):
    mirrored = [paint(i)[:, ::-1] for i in range(12)]
    path = write_clip(tmp_path / "clip.mp4", (m[:, ::-1] for m in mirrored))
    assert read_in_random_order(path, read_index) == list(range(12))


def test_an_index_outside_is_an_index_error(tmp_path, noise):
    reader = ClipReader(write_clip(tmp_path / "clip.mp4", noise))
    for index in (25, -26):
        with pytest.raises(IndexError):
            reader[index]


def test_files_that_decord_reads_wrongly_are_refused(tmp_path, make_film):
    whole = make_film(tmp_path / "b-frames.mp4", range(75), Fraction(1, 25), b_frames=2)
    cut = tmp_path / "cut.mp4"
    run_ffmpeg(ffmpeg.input(str(whole), ss=0.8).output(str(cut), c="copy"), timeout_s=60)
    stream = make_film(tmp_path / "stream.ts", range(0, 270000, 3600), Fraction(1, 90000))
    late = make_film(tmp_path / "late.mp4", range(45, 75))
    text = tmp_path / "text.mp4"
    text.write_text("no film")
    for path in (whole, cut, stream, late, text, tmp_path / "missing.mp4"):
        with pytest.raises(BrokenClip):
            ClipReader(path)


def test_a_cut_of_one_of_our_clips_is_refused(tmp_path, paint):
    clip = write_clip(tmp_path / "clip.mp4", map(paint, range(75)))
    cut = tmp_path / "cut.mp4"
    run_ffmpeg(ffmpeg.input(str(clip), ss=0.6).output(str(cut), c="copy"), timeout_s=60)
    with pytest.raises(BrokenClip):
        ClipReader(cut)


def test_a_damaged_clip_is_refused(tmp_path, noise):
    path = write_clip(tmp_path / "clip.mp4", noise)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(BrokenClip):
        ClipReader(path)[24]
    path.write_bytes(os.urandom(1000))
    with pytest.raises(BrokenClip):
        ClipReader(path)
