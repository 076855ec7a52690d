from fractions import Fraction

import av
import numpy as np
import pytest

from preprocess.media import sound
from preprocess.media.decode import decode_film, frame_times
from preprocess.media.deliver import DeliverySettings, write_film
from preprocess.media.errors import FilmReason, UnusableFilm
from preprocess.media.probe import probe_audio, probe_film
from preprocess.media.sound import cut_sound
from preprocess.media.sync import measure_sound_shift

CFR = list(range(60))


def loud_s(path):
    """(first, last) moment at which a file's sound is loud, on the file's clock."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("s16", "mono", 44100)
        moments = [
            float(frame.pts * frame.time_base) + np.flatnonzero(np.abs(samples) > 3000) / 44100
            for frame in container.decode(audio=0)
            for part in resampler.resample(frame)
            for samples in [part.to_ndarray().ravel()]
        ]
    found = np.concatenate(moments)
    return found[0], found[-1]


@pytest.mark.parametrize(
    ("picture_at", "sound_at_s", "start_s", "loud_from_s", "loud_to_s"),
    [
        (0, 0.0, 0.0, 0.0, 1.0),
        (0, 0.0, 0.5, 0.0, 1.0),
        (0, 0.4, 0.0, 0.4, 1.0),  # sound that sets in late still does
        (12, 0.0, 0.2, 0.0, 1.0),  # 0.2 s after the first picture, which stands at 0.4 s
        (0, 0.0, 1.5, 0.0, 0.5),  # the sound ends first
    ],
)
def test_the_stretch_begins_where_it_was_asked_for(
    picture_at, sound_at_s, start_s, loud_from_s, loud_to_s, tmp_path, make_film
):
    film = make_film(
        tmp_path / "film.mkv",
        [picture_at + i for i in CFR],
        audio=("pcm_s16le", sound_at_s, 2.0),
    )
    out = cut_sound(film, tmp_path / "sound.mp4", start_s=start_s, duration_s=1.0)
    # AAC smears the ends of a sound by part of a packet.
    assert loud_s(out) == pytest.approx((loud_from_s, loud_to_s), abs=0.012)
    audio, video_start_s = probe_audio(out)
    assert (audio.codec, video_start_s) == ("aac", None)


def test_a_cut_sound_stays_in_step_when_it_is_delivered(tmp_path, make_film):
    original = make_film(tmp_path / "film.mp4", CFR, Fraction(1, 30))
    dub = make_film(tmp_path / "dub.mkv", CFR, audio=("pcm_s16le", 0.8, 1.0))
    cut = cut_sound(dub, tmp_path / "sound.mp4", start_s=0.5, duration_s=3.0)
    write_film(
        tmp_path / "delivered.mp4",
        (frame.rgb for frame in decode_film(original)),
        original=probe_film(original),
        pts=frame_times(original)[1],
        audio_from=cut,
        settings=DeliverySettings(preset="ultrafast"),
    )
    assert loud_s(tmp_path / "delivered.mp4") == pytest.approx((0.3, 1.3), abs=0.012)


def test_same_input_gives_the_same_bytes(tmp_path, make_film):
    film = make_film(tmp_path / "film.mp4", CFR, audio=("aac", 0.0, 2.0))
    first, second = (
        cut_sound(film, tmp_path / name, start_s=0.3, duration_s=1.0) for name in ("a.mp4", "b.mp4")
    )
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("picture_at", [0, 12])
@pytest.mark.parametrize(("codec", "suffix"), [("aac", ".mp4"), ("libmp3lame", ".mkv")])
def test_a_stretch_far_inside_is_cut_as_if_read_from_the_start(
    codec, suffix, picture_at, tmp_path, make_film, monkeypatch
):
    """A minute of noise, so that every sample has its own place."""
    noise = 0.3 * np.random.default_rng(0).uniform(-1, 1, 60 * 44100)
    film = make_film(
        tmp_path / f"film{suffix}",
        [picture_at + i for i in range(300)],
        Fraction(1, 5),
        audio=(codec, 0.0, 0),
        wave=noise,
    )
    entered = cut_sound(film, tmp_path / "a.mp4", start_s=41.3, duration_s=2.0)
    monkeypatch.setattr(sound, "is_indexed", lambda container: False)
    from_start = cut_sound(film, tmp_path / "b.mp4", start_s=41.3, duration_s=2.0)
    if suffix == ".mp4":
        assert entered.read_bytes() == from_start.read_bytes()
    # Matroska's clock ticks in milliseconds: another packet tells another fraction of one.
    told = measure_sound_shift(entered, from_start)
    assert (told.heard, told.matched) == (1, 1)
    assert told.shift_s == pytest.approx(0, abs=0.0002)


@pytest.mark.parametrize("audio", [None, ("aac", 0.0, 1.0)])
def test_where_there_is_no_sound_it_says_so(audio, tmp_path, make_film):
    film = make_film(tmp_path / "film.mp4", CFR, audio=audio)
    with pytest.raises(UnusableFilm) as caught:
        cut_sound(film, tmp_path / "sound.mp4", start_s=1.5, duration_s=1)
    assert caught.value.reason == FilmReason.NO_AUDIO
