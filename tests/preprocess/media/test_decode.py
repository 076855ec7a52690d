import shutil
from fractions import Fraction

import av
import ffmpeg
import numpy as np
import pytest

from preprocess.media.decode import DecodeReport, decode_film, frame_times
from preprocess.media.errors import FilmReason, UnusableFilm
from preprocess.media.ffmpeg import run_ffmpeg

N = 60
CFR = list(range(N))
# Thirty frames a second, then ten.
VFR = [*range(30), *(30 + 3 * k for k in range(30))]

FILMS = {
    "30 fps": {"pts": CFR, "time_base": Fraction(1, 30)},
    "29.97 fps, B-frames": {"pts": CFR, "time_base": Fraction(1001, 30000), "b_frames": 2},
    "60 fps in Matroska": {"pts": CFR, "time_base": Fraction(1, 60), "suffix": ".mkv"},
    "variable rate, B-frames": {"pts": VFR, "time_base": Fraction(1, 30), "b_frames": 2},
    "starts at 1.5 s": {"pts": [45 + i for i in CFR], "time_base": Fraction(1, 30)},
    "transport stream, B-frames": {
        "pts": [3600 * i + 133508 for i in CFR],
        "time_base": Fraction(1, 90000),
        "b_frames": 2,
        "suffix": ".ts",
        "options": {"muxdelay": "0", "muxpreload": "0"},
    },
    "AVI": {"pts": CFR, "time_base": Fraction(1, 25), "codec": "mpeg4", "suffix": ".avi"},
    "one frame": {"pts": [0], "time_base": Fraction(1, 25)},
    "two frames": {"pts": [0, 1], "time_base": Fraction(1, 25), "b_frames": 2},
}


def indices_and_times(path, read_index, report=None):
    frames = list(decode_film(path, report))
    return [read_index(f.rgb) for f in frames], [f.time_s for f in frames]


@pytest.mark.parametrize("name", FILMS)
def test_every_frame_comes_in_order_at_its_true_time(name, tmp_path, make_film, read_index):
    facts = dict(FILMS[name])
    path = make_film(tmp_path / f"film{facts.pop('suffix', '.mp4')}", **facts)
    report = DecodeReport()
    indices, times_s = indices_and_times(path, read_index, report)
    wanted_s = [stamp * facts["time_base"] for stamp in facts["pts"]]
    assert indices == list(range(len(facts["pts"])))
    assert max(abs(a - b) for a, b in zip(times_s, wanted_s, strict=True)) <= Fraction(1, 1000)
    assert report == DecodeReport(frames=len(indices))


def test_frame_times_are_those_of_the_decoded_frames(tmp_path, make_film):
    path = make_film(tmp_path / "film.mp4", VFR, b_frames=2)
    time_base, pts = frame_times(path)
    assert [(f.pts, f.time_base) for f in decode_film(path)] == [(p, time_base) for p in pts]


def test_a_stream_copied_cut_gives_just_the_frames_of_its_edit_list(
    tmp_path, make_film, read_index
):
    whole = make_film(tmp_path / "whole.mp4", CFR, b_frames=2)
    cut = tmp_path / "cut.mp4"
    # The cut falls inside a group of pictures (12 frames): hidden frames lead up to it.
    output = ffmpeg.input(str(whole), ss=20 / 30).output(str(cut), c="copy")
    run_ffmpeg(output, timeout_s=60)
    with av.open(str(cut)) as container:
        assert any(entry.is_discard for entry in container.streams.video[0].index_entries)
    indices, times_s = indices_and_times(cut, read_index)
    assert indices == list(range(20, N))
    assert times_s == [Fraction(i, 30) for i in range(N - 20)]


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_pictures_come_upright(degrees, mirrored, tmp_path, make_film, paint, read_index):
    # The display matrix turns counter-clockwise, then mirrors; what is stored undoes both.
    def stored(index):
        shown = paint(index)
        if mirrored:
            shown = shown[:, ::-1]
        return np.ascontiguousarray(np.rot90(shown, -degrees // 90))

    path = make_film(
        tmp_path / "film.mp4", [0, 1, 2], pictures=stored, rotation=(degrees, mirrored, False)
    )
    frames = list(decode_film(path))
    assert [read_index(f.rgb) for f in frames] == [0, 1, 2]
    assert all(f.rgb.shape == (96, 192, 3) and f.rgb.flags.c_contiguous for f in frames)


@pytest.mark.parametrize(
    ("sar", "shape"), [("16/11", (96, 280, 3)), ("8/9", (108, 192, 3)), ("1/1", (96, 192, 3))]
)
def test_pixels_come_square(sar, shape, tmp_path, make_film, read_index):
    path = make_film(tmp_path / "film.mp4", [0, 1], sar=Fraction(sar))
    frames = list(decode_film(path))
    assert frames[1].rgb.shape == shape
    assert read_index(frames[1].rgb) == 1


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "yuv422p", "yuv444p"])
@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (2, 1, 1, 1), (1, 6, 6, 6), (1, 9, 16, 9)])
def test_colours_follow_the_matrix_and_range_tags(pix_fmt, tags, tmp_path, make_film):
    colours = [(200, 60, 40), (30, 180, 90), (60, 50, 220), (128, 128, 128), (210, 160, 130)]
    path = make_film(
        tmp_path / "film.mkv",
        list(range(len(colours))),
        pictures=lambda i: np.full((64, 64, 3), colours[i], np.uint8),
        pix_fmt=pix_fmt,
        tags=tags,
        options={},
    )
    for frame, colour in zip(decode_film(path), colours, strict=True):
        assert np.abs(frame.rgb.reshape(-1, 3).mean(0) - colour).max() < 2.5


@pytest.mark.parametrize(("height", "space"), [(576, 5), (578, 1)])
def test_untagged_films_are_read_as_bt601_up_to_576_lines_and_as_bt709_above(
    height, space, tmp_path, make_film
):
    def green(_):
        return np.full((height, 64, 3), (30, 180, 90), np.uint8)

    tagged = make_film(tmp_path / "tagged.mp4", [0], pictures=green, tags=(1, space, space, space))
    untagged = tmp_path / "untagged.mp4"
    output = ffmpeg.input(str(tagged)).output(
        str(untagged),
        c="copy",
        **{
            "bsf:v": "h264_metadata=colour_primaries=2"
            ":transfer_characteristics=2:matrix_coefficients=2"
        },
        color_primaries=2,
        color_trc=2,
        colorspace=2,
    )
    run_ffmpeg(output, timeout_s=60)
    with av.open(str(untagged)) as container:
        assert next(container.decode(video=0)).colorspace == 2
    (frame,) = decode_film(untagged)
    assert np.abs(frame.rgb.reshape(-1, 3).mean(0) - (30, 180, 90)).max() < 2.5


def test_good_frames_before_damage_are_kept_and_no_spoilt_one_is_given(tmp_path, make_film):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (64, 160, 3), np.uint8)

    def moving_noise(index):
        return np.roll(noise, (index, 3 * index), axis=(0, 1))

    path = make_film(tmp_path / "film.mp4", CFR, pictures=moving_noise, b_frames=3)
    sound = [frame.rgb for frame in decode_film(path)]
    content = path.read_bytes()
    for position in range(len(content) // 4, len(content) * 3 // 4, len(content) // 40):
        path.write_bytes(content[:position] + bytes(40) + content[position + 40 :])
        report = DecodeReport()
        given = [frame.rgb for frame in decode_film(path, report)]
        assert report.frames == len(given) < N
        assert len(given) >= 10
        assert report.damage
        assert all(np.array_equal(a, b) for a, b in zip(given, sound, strict=False))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_film_cut_short_tells_so(suffix, tmp_path, make_film, read_index):
    path = make_film(
        tmp_path / f"film{suffix}", list(range(150)), options={"movflags": "+faststart"}
    )
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    report = DecodeReport()
    indices, _ = indices_and_times(path, read_index, report)
    assert 30 < len(indices) < 120
    assert indices == list(range(len(indices)))
    assert report.damage


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".flv", ".ts", ".avi"])
@pytest.mark.parametrize("fflags", ["", "+bitexact"])
def test_sound_that_outlasts_the_pictures_is_no_damage(suffix, fflags, tmp_path, make_film):
    path = make_film(
        tmp_path / f"film{suffix}",
        CFR,
        codec="mpeg4" if suffix == ".avi" else "libx264",
        audio=("aac", 0.0, 6.0),
        options={"fflags": fflags} if fflags else {},
    )
    report = DecodeReport()
    frame_times(path, report)
    assert report == DecodeReport(frames=N)


def test_a_recording_that_begins_inside_a_group_of_pictures_starts_with_its_first_good_frame(
    tmp_path, make_film, read_index
):
    path = make_film(tmp_path / "film.ts", [3000 * i for i in CFR], Fraction(1, 90000))
    content = path.read_bytes()
    path.write_bytes(content[len(content) // 4 // 188 * 188 :])
    report = DecodeReport()
    indices, _ = indices_and_times(path, read_index, report)
    assert indices == list(range(indices[0], N))
    assert indices[0] % 12 == 0
    assert not report.damage


def test_two_recordings_in_one_file_end_at_the_splice(tmp_path, make_film, read_index):
    path = make_film(tmp_path / "film.ts", [3000 * i for i in CFR], Fraction(1, 90000))
    path.write_bytes(path.read_bytes() * 2)
    report = DecodeReport()
    indices, _ = indices_and_times(path, read_index, report)
    assert indices == CFR
    assert "jumps back" in report.damage


def test_pictures_that_change_size_are_scaled_to_the_first_and_raw_streams_get_even_times(
    tmp_path, make_film, paint, read_index
):
    small = make_film(tmp_path / "small.h264", CFR[:20], Fraction(1, 25))
    large = make_film(
        tmp_path / "large.h264", CFR[:20], Fraction(1, 25), pictures=lambda i: paint(i, 384, 192)
    )
    path = tmp_path / "both.h264"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    frames = list(decode_film(path))
    assert [read_index(f.rgb) for f in frames] == [*range(20), *range(20)]
    assert {f.rgb.shape for f in frames} == {(96, 192, 3)}
    assert [f.time_s for f in frames] == [Fraction(i, 25) for i in range(40)]


def test_a_film_without_one_good_picture_is_unusable(tmp_path, make_film):
    path = make_film(tmp_path / "film.mkv", CFR)
    content = bytearray(path.read_bytes())
    content[1200:-400] = bytes(len(content) - 1600)
    path.write_bytes(content)
    with pytest.raises(UnusableFilm) as caught:
        list(decode_film(path))
    assert caught.value.reason == FilmReason.UNDECODABLE


def test_a_decoder_can_be_left_early(tmp_path, make_film):
    path = make_film(tmp_path / "film.mp4", CFR)
    frames = decode_film(path)
    next(frames)
    frames.close()
    shutil.rmtree(tmp_path)


def test_real_films_decode_soundly(pexels_film, no_face_film):
    report = DecodeReport()
    time_base, pts = frame_times(pexels_film, report)
    assert report == DecodeReport(frames=472)
    assert [p * time_base for p in pts] == [Fraction(1001, 24000) * i for i in range(472)]
    # Three of its 98 stored pictures are hidden by an edit list.
    assert len(frame_times(no_face_film)[1]) == 95
