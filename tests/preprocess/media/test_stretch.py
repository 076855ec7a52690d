import os
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.media import stretch as stretches
from preprocess.media.decode import decode_film, frame_times
from preprocess.media.deliver import DeliverySettings, write_film
from preprocess.media.probe import probe_film
from preprocess.media.stretch import (
    EmptyStretch,
    decode_stretch,
    frames_between,
    stretch_of,
    stretch_sound,
)
from preprocess.media.sync import measure_sound_shift
from preprocess.media.verify import verify_delivery

NTSC = Fraction(1001, 30000)
CFR = list(range(150))
VFR = [*range(60), *(60 + 3 * k for k in range(30)), *(152 + 2 * k for k in range(40))]
QUICK = DeliverySettings(preset="ultrafast", crf=10)


def cut(film, start_s, end_s=None):
    return stretch_of(probe_film(film), frame_times(film)[1], start_s, end_s)


def deliver(film, stretch, folder):
    """Deliver a stretch's own pictures and sound, as a render of it does."""
    out = folder / "delivered.mp4"
    write_film(
        out,
        (frame.rgb for frame in decode_stretch(film, stretch)),
        original=stretch.info,
        pts=stretch.pts,
        audio_from=stretch_sound(film, stretch, folder / "sound.mp4"),
        settings=QUICK,
        end_pts=stretch.end_pts,
    )
    return out


@pytest.mark.parametrize(
    ("start_s", "end_s", "frames"),
    [
        (0, 1, range(30)),
        (1.001, 2.002, range(30, 60)),  # exactly on frames
        (0.033, 0.067, range(1, 2)),  # frames at 0.03337 and 0.06673, as people write them
        (0.05, 0.06, range(2, 2)),
        (4.0, None, range(120, 150)),
        (4.0, 99, range(120, 150)),
        (-1, 0.01, range(1)),
        (5.1, None, range(150, 150)),
        (2, 1, range(60, 60)),
    ],
)
def test_frames_that_begin_in_a_stretch_are_its_frames(start_s, end_s, frames):
    assert frames_between([7 + i for i in CFR], NTSC, start_s, end_s) == frames


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=60),
    st.lists(st.floats(0, 12), min_size=1, max_size=5),
)
def test_stretches_that_meet_share_no_frame_and_miss_none(steps, cuts_s):
    pts = np.cumsum([90, *steps]).tolist()
    ends = [0.0, *sorted(cuts_s), None]
    found = [frames_between(pts, Fraction(1, 24), *pair) for pair in pairwise(ends)]
    assert [i for frames in found for i in frames] == list(range(len(pts)))


FILMS = {
    "29.97 fps": {"pts": CFR, "time_base": NTSC, "b_frames": 2},
    "variable rate": {"pts": VFR, "time_base": Fraction(1, 30), "b_frames": 2},
    "variable rate in Matroska": {
        "pts": VFR,
        "time_base": Fraction(1, 30),
        "b_frames": 2,
        "suffix": ".mkv",
    },
    "starts late": {"pts": [45 + i for i in CFR], "time_base": Fraction(1, 30), "b_frames": 2},
    "open groups of pictures": {
        "pts": CFR,
        "time_base": NTSC,
        "b_frames": 2,
        "x264_params": "open-gop=1:keyint=12",
    },
    "transport stream": {
        "pts": [3600 * i for i in CFR],
        "time_base": Fraction(1, 90000),
        "b_frames": 2,
        "suffix": ".ts",
    },
    "turned": {"pts": CFR, "time_base": Fraction(1, 30), "rotation": (90, False, False)},
    "non-square pixels, full range": {
        "pts": CFR,
        "time_base": Fraction(1, 25),
        "sar": Fraction(16, 11),
        "tags": (2, 1, 1, 1),
    },
    "HEVC": {"pts": CFR, "time_base": NTSC, "codec": "libx265", "b_frames": 2},
    "AVI": {"pts": CFR, "time_base": Fraction(1, 25), "codec": "mpeg4", "suffix": ".avi"},
}


@pytest.fixture(params=FILMS)
def film(request, tmp_path, make_film):
    facts = dict(FILMS[request.param])
    return make_film(tmp_path / f"film{facts.pop('suffix', '.mp4')}", **facts)


@pytest.mark.parametrize(("start_s", "end_s"), [(0, 1.5), (2.2, 4.1), (3.9, None)])
def test_a_stretch_gives_the_films_own_pictures(start_s, end_s, film):
    stretch = cut(film, start_s, end_s)
    all_frames = list(decode_film(film))
    assert len(stretch.pts) > 10
    wanted = [all_frames[i] for i in stretch.frames]
    given = list(decode_stretch(film, stretch))
    assert [frame.time_s for frame in given] == [frame.time_s for frame in wanted]
    assert [f.pts for f in given] == list(stretch.pts)
    for mine, theirs in zip(given, wanted, strict=True):
        assert np.array_equal(mine.rgb, theirs.rgb)
    begin_s = float(wanted[0].time_s - all_frames[0].time_s)
    assert stretch.start_s == pytest.approx(begin_s)


@pytest.mark.parametrize(
    "name", ["29.97 fps", "variable rate", "variable rate in Matroska", "starts late", "HEVC"]
)
def test_a_late_stretch_is_not_decoded_from_the_start(name, tmp_path, make_film, monkeypatch):
    facts = dict(FILMS[name])
    film = make_film(tmp_path / f"film{facts.pop('suffix', '.mp4')}", **facts)
    stretch = cut(film, 3)
    monkeypatch.setattr(stretches, "decode_film", lambda path: pytest.fail("decoded in full"))
    assert len(list(decode_stretch(film, stretch))) == len(stretch.pts)


def test_what_is_not_surely_exact_is_decoded_from_the_start(tmp_path, make_film, monkeypatch):
    """Also from the middle on: a picture that comes at another time than it should."""
    film = make_film(tmp_path / "film.mp4", CFR, NTSC, b_frames=2)
    stretch = cut(film, 3, 4)
    wanted = [frame.rgb for frame in list(decode_film(film))[stretch.first :]][: len(stretch.pts)]
    pictures = stretches._pictures_from

    def one_lost(*args):
        return (frame for i, frame in enumerate(pictures(*args)) if i != 45)

    monkeypatch.setattr(stretches, "_pictures_from", one_lost)
    given = list(decode_stretch(film, stretch))
    assert [frame.pts for frame in given] == list(stretch.pts)
    assert all(np.array_equal(a.rgb, b) for a, b in zip(given, wanted, strict=True))


@pytest.mark.parametrize(("start_s", "end_s"), [(0, 1.5), (1.95, 4.1), (3.9, None)])
def test_a_delivered_stretch_holds_its_frames_at_their_times(
    start_s, end_s, film, tmp_path, read_index
):
    stretch = cut(film, start_s, end_s)
    delivered = deliver(film, stretch, tmp_path)
    assert verify_delivery(film, delivered, audio_expected=False, stretch=stretch) == ()
    time_base, pts = frame_times(delivered)
    old_base = stretch.info.time_base
    assert [(stamp - pts[0]) * time_base for stamp in pts] == [
        (stamp - stretch.pts[0]) * old_base for stamp in stretch.pts
    ]
    info = probe_film(delivered)
    assert info.start_s == 0
    # The last frame lasts until the film's next one begins.
    assert info.duration_s == pytest.approx(stretch.duration_s, abs=1e-4)
    old = [frame.rgb for frame in decode_film(film)]
    new = [frame.rgb for frame in decode_film(delivered)]
    for mine, theirs in ((new[0], stretch.first), (new[-1], stretch.frames[-1])):
        assert np.abs(mine.astype(int) - old[theirs]).mean() < 3
        if mine.shape == (96, 192, 3):
            assert read_index(mine) == theirs


def test_the_last_frame_lasts_as_in_the_film(tmp_path, make_film):
    """At 1.5 frames a second on average, where the last one lasts 1/30 s or 2 s."""
    pts = [0, 20, 21, 41, 101, 102]
    film = make_film(tmp_path / "film.mp4", pts, Fraction(1, 30))
    for end_s, lasting_s in ((0.7, 21 / 30), (1.4, 101 / 30)):
        stretch = cut(film, 0, end_s)
        delivered = deliver(film, stretch, tmp_path)
        assert probe_film(delivered).duration_s == pytest.approx(lasting_s, abs=1e-4)
        assert stretch.duration_s == pytest.approx(lasting_s, abs=1e-4)


SOUNDS = {
    "29.97 fps, aac": ({"pts": CFR, "time_base": NTSC}, "aac", ".mp4"),
    "29.97 fps, mp3 in Matroska": ({"pts": CFR, "time_base": NTSC}, "libmp3lame", ".mkv"),
    "29.97 fps, aac in a transport stream": ({"pts": CFR, "time_base": NTSC}, "aac", ".ts"),
    "variable rate, pcm": ({"pts": VFR, "time_base": Fraction(1, 30)}, "pcm_s16le", ".mov"),
    "starts late": (
        {"pts": [45 + i for i in CFR], "time_base": Fraction(1, 30)},
        "pcm_s16le",
        ".mkv",
    ),
}


@pytest.mark.parametrize(("start_s", "end_s"), [(0, 4.5), (2.25, 4.4), (1.0, None)])
@pytest.mark.parametrize("name", SOUNDS)
def test_a_beep_stays_on_its_flash_in_a_stretch(
    name, start_s, end_s, tmp_path, make_film, paint, beep, onset_s, flash_of
):
    facts, codec, suffix = SOUNDS[name]
    flash = 80
    flash_s = float(facts["pts"][flash] * facts["time_base"])
    film = make_film(
        tmp_path / f"film{suffix}",
        **facts,
        pictures=lambda i: paint(4095 if i == flash else i),
        b_frames=2,
        audio=(codec, 0.0, 0),
        wave=beep(flash_s, 7),
    )
    stretch = cut(film, start_s, end_s)
    delivered = deliver(film, stretch, tmp_path)
    assert verify_delivery(film, delivered, audio_expected=True, stretch=stretch) == ()
    index, shown_s = flash_of(delivered)
    assert stretch.frames[index] == flash
    # Asked for: 10 ms. Measured: at most 0.5 ms, from Matroska's clock of milliseconds.
    assert onset_s(delivered) - shown_s == pytest.approx(0, abs=0.001)
    told = measure_sound_shift(delivered, film, reference_start_s=stretch.start_s)
    assert told.shift_s == pytest.approx(0, abs=0.0001)
    told = measure_sound_shift(delivered, film, reference_start_s=stretch.start_s - 0.04)
    assert told.shift_s == pytest.approx(-0.04, abs=0.0001)


def test_sound_that_leads_or_has_ended_is_none_of_a_stretch(tmp_path, make_film):
    film = make_film(
        tmp_path / "film.mkv", [30 + i for i in CFR], Fraction(1, 30), audio=("aac", 0.0, 2.5)
    )
    early = cut(film, 0, 1)
    assert early.info.audio.start_s == early.info.start_s == 1.0
    delivered = probe_film(deliver(film, early, tmp_path))
    assert delivered.start_s == 0
    assert delivered.audio.duration_s == pytest.approx(1, abs=0.05)
    late = cut(film, 3, 4)
    assert stretch_sound(film, late, tmp_path / "none.mp4") is None
    assert not (tmp_path / "none.mp4").exists()
    silent = deliver(film, late, tmp_path)
    assert verify_delivery(film, silent, audio_expected=False, stretch=late) == ()


def test_a_stretch_without_frames_is_refused_in_a_sentence(tmp_path, make_film):
    film = make_film(tmp_path / "film.mp4", CFR[:30], Fraction(1, 30))
    with pytest.raises(EmptyStretch, match=r"lies from 2 s to its end: it lasts 1\.000 s"):
        cut(film, 2)
    with pytest.raises(EmptyStretch, match=r"lies from 0\.51 s to 0\.52 s"):
        cut(film, 0.51, 0.52)


def test_another_stretch_than_was_asked_for_is_named(tmp_path, make_film):
    film = make_film(tmp_path / "film.mp4", VFR, Fraction(1, 30))
    delivered = deliver(film, cut(film, 1, 4), tmp_path)
    other = cut(film, 0.9, 4.5)
    named = {d.what for d in verify_delivery(film, delivered, audio_expected=False, stretch=other)}
    assert {"frames", "duration_s"} <= named
    named = {d.what for d in verify_delivery(film, delivered, audio_expected=False)}
    assert {"frames", "fps", "duration_s"} <= named


def test_a_stretch_of_a_real_film(shared_data, tmp_path):
    film = shared_data / "videos" / "liveportrait_d6.mp4"
    if not film.exists():
        pytest.skip(f"no {film.name} in {os.environ['E3D_TEST_DATA']}")
    stretch = cut(film, 20, 21)
    every = list(decode_film(film))
    assert len(stretch.pts) == pytest.approx(stretch.info.fps, abs=1)
    given = list(decode_stretch(film, stretch))
    assert all(
        np.array_equal(f.rgb, every[i].rgb) for f, i in zip(given, stretch.frames, strict=True)
    )
    delivered = deliver(film, stretch, tmp_path)
    assert verify_delivery(film, delivered, audio_expected=True, stretch=stretch) == ()
    new = list(decode_film(delivered))
    for mine, theirs in ((new[0], given[0]), (new[-1], given[-1])):
        assert np.abs(mine.rgb.astype(int) - theirs.rgb).mean() < 3
    told = measure_sound_shift(delivered, film, reference_start_s=stretch.start_s)
    assert told.shift_s == pytest.approx(0, abs=0.0005)
