"""Films of every kind, from burnt-in index to index read back, against ffmpeg's and PyAV's word."""

import random
import re
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import ffmpeg
import numpy as np
import pytest

from preprocess.media.clips import ClipReader, ClipWriter
from preprocess.media.decode import DecodeReport, decode_film, frame_times
from preprocess.media.ffmpeg import find_ffmpeg, run_ffmpeg
from preprocess.media.probe import probe_film
from preprocess.media.resample import resample_constant

N = 66
EVEN = range(N)
BROADCAST = {"time_base": Fraction(1, 90000), "suffix": ".ts"}
KINDS = {
    "25 fps": {"time_base": Fraction(1, 25), "b_frames": 2},
    "22.1 fps": {"time_base": Fraction(10, 221), "b_frames": 2},
    "23.976 fps in Matroska": {"time_base": Fraction(1001, 24000), "suffix": ".mkv"},
    "29.97 fps": {"time_base": Fraction(1001, 30000), "b_frames": 3},
    "30 fps": {"time_base": Fraction(1, 30), "b_frames": 2},
    "60 fps": {"time_base": Fraction(1, 60), "b_frames": 2},
    "variable rate": {"pts": [*range(30), *range(30, 138, 3)], "b_frames": 2},
    "variable rate in Matroska": {"pts": [*range(30), *range(30, 138, 3)], "suffix": ".mkv"},
    "starts at 1.5 s": {"pts": range(45, 45 + N)},
    "transport stream": BROADCAST | {"pts": range(126000, 126000 + 3000 * N, 3000), "b_frames": 2},
    "MPEG-2 transport stream": {
        "codec": "mpeg2video",
        "time_base": Fraction(1, 25),
        "suffix": ".ts",
    },
    "program stream": {"codec": "mpeg2video", "time_base": Fraction(1, 25), "suffix": ".mpg"},
    "interlaced": {"time_base": Fraction(1, 25), "x264_params": "tff=1", "b_frames": 2},
    "interlaced transport stream": BROADCAST
    | {"pts": range(0, 3600 * N, 3600), "x264_params": "bff=1"},
    "10 bits": {"pix_fmt": "yuv420p10le", "b_frames": 2},
    "10 bits of HEVC": {"pix_fmt": "yuv420p10le", "codec": "libx265"},
    "10 bits of ProRes": {"pix_fmt": "yuv422p10le", "codec": "prores_ks", "suffix": ".mov"},
    "PQ": {"pix_fmt": "yuv420p10le", "codec": "libx265", "tags": (1, 9, 16, 9)},
    "odd size": {"size": (193, 97), "pix_fmt": "yuv444p"},
    "odd height in VP9": {"size": (193, 97), "codec": "libvpx-vp9", "suffix": ".webm"},
    "wide pixels": {"sar": Fraction(16, 11)},
    "narrow pixels": {"sar": Fraction(8, 9)},
    "turned": {"rotation": (180, False, False), "b_frames": 2},
    "Xvid": {"codec": "mpeg4", "time_base": Fraction(1, 25), "suffix": ".avi"},
    "Flash": {"suffix": ".flv", "time_base": Fraction(1, 25), "b_frames": 2},
    "Windows Media": {"codec": "wmv2", "time_base": Fraction(1, 25), "suffix": ".asf"},
    "AV1": {"codec": "libsvtav1"},
    "motion JPEG": {"codec": "mjpeg", "pix_fmt": "yuvj420p", "suffix": ".mov"},
}


@pytest.fixture
def make_kind(tmp_path, make_film, paint):
    def make(name):
        facts = dict(KINDS[name])
        width, height = facts.pop("size", (192, 96))
        turned = "rotation" in facts

        def picture(index):
            shown = paint(index, width, height)
            return np.ascontiguousarray(shown[::-1, ::-1]) if turned else shown

        pts = facts.pop("pts", EVEN)
        facts.setdefault("time_base", Fraction(1, 30))
        return make_film(
            tmp_path / f"film{facts.pop('suffix', '.mp4')}", pts, pictures=picture, **facts
        )

    return make


def told_by_ffmpeg(path: Path) -> list[Fraction]:
    """Time in s of every frame that ffmpeg's showinfo sees, none made or dropped."""
    arguments = ["-map", "0:v:0", "-vf", "showinfo", "-fps_mode", "passthrough", "-f", "null", "-"]
    told = subprocess.run(
        [find_ffmpeg(), "-nostdin", "-hide_banner", "-copyts", "-i", path, *arguments],
        capture_output=True,
        timeout=120,
        check=True,
    ).stderr.decode()
    base = re.search(r"config in time_base: (\d+)/(\d+)", told)
    assert base
    return [
        int(pts) * Fraction(int(base[1]), int(base[2]))
        for pts in re.findall(r"\] n: *\d+ pts: *(-?\d+)", told)
    ]


def told_by_pyav(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def through_the_whole_path(film: Path, clip: Path) -> list[Fraction]:
    """Film to clip at 25 fps; gives the source time of every frame of the clip."""
    info, times_s = probe_film(film), []
    with ClipWriter(clip, info.width, info.height) as writer:
        for tick, frame in resample_constant((f.time_s, f) for f in decode_film(film)):
            assert tick == writer.frames
            writer.write(frame.rgb)
            times_s.append(frame.time_s)
    return times_s


def nearest(times_s: list[Fraction]) -> list[int]:
    """Index of the frame that each tick of 1/25 s has to show."""
    ticks = int((times_s[-1] - times_s[0]) * 25) + 1
    due_s = [times_s[0] + Fraction(tick, 25) for tick in range(ticks)]
    return [min(range(len(times_s)), key=lambda i: (abs(times_s[i] - s), i)) for s in due_s]


def read_back(clip: Path, read_index) -> list[int]:
    reader = ClipReader(clip)
    order = list(range(len(reader)))
    random.Random(0).shuffle(order)
    shown = {i: read_index(reader[i]) for i in order}
    return [shown[i] for i in sorted(shown)]


@pytest.mark.parametrize("name", KINDS)
def test_the_index_burnt_into_a_film_comes_out_of_the_clip_as_its_time_stamps_demand(
    name, tmp_path, make_kind, read_index
):
    film, clip, report = make_kind(name), tmp_path / "clip.mp4", DecodeReport()
    time_base, pts = frame_times(film, report)
    times_s = [stamp * time_base for stamp in pts]
    assert report == DecodeReport(frames=N)
    assert times_s == told_by_pyav(film)
    if name != "AV1":  # the ffmpeg that comes along cannot decode it
        assert times_s == told_by_ffmpeg(film)
    wanted = nearest(times_s)
    assert through_the_whole_path(film, clip) == [times_s[i] for i in wanted]
    assert read_back(clip, read_index) == wanted


def test_the_hidden_frames_of_an_edit_list_stay_hidden(tmp_path, make_film, read_index):
    whole = make_film(tmp_path / "whole.mp4", EVEN, b_frames=2)
    film, clip = tmp_path / "cut.mp4", tmp_path / "clip.mp4"
    run_ffmpeg(ffmpeg.input(str(whole), ss=20 / 30).output(str(film), c="copy"), timeout_s=60)
    time_base, pts = frame_times(film)
    times_s = [stamp * time_base for stamp in pts]
    assert times_s == told_by_ffmpeg(film) == told_by_pyav(film)
    wanted = nearest(times_s)
    assert through_the_whole_path(film, clip) == [times_s[i] for i in wanted]
    assert read_back(clip, read_index) == [20 + i for i in wanted]


@pytest.mark.parametrize("fixture", ["face_film", "pexels_film", "no_face_film"])
def test_real_films_have_the_frames_and_times_that_ffmpeg_and_pyav_tell(fixture, request):
    film = request.getfixturevalue(fixture)
    time_base, pts = frame_times(film)
    times_s = [stamp * time_base for stamp in pts]
    assert times_s == told_by_ffmpeg(film) == told_by_pyav(film)


def test_pq_and_hlg_are_told(make_kind):
    assert probe_film(make_kind("PQ")).is_hdr
    assert not probe_film(make_kind("10 bits of HEVC")).is_hdr
