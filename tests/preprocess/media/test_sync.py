"""A beep and a flash on known frames, through delivery, heard by a threshold and by sync.py."""

from fractions import Fraction

import ffmpeg
import numpy as np
import pytest

from preprocess.media.decode import decode_film, frame_times
from preprocess.media.deliver import DeliverySettings, write_film
from preprocess.media.errors import FilmReason, UnusableFilm
from preprocess.media.ffmpeg import run_ffmpeg
from preprocess.media.probe import probe_film
from preprocess.media.sound import cut_sound
from preprocess.media.sync import MAX_SHIFT_S, measure_sound_shift

RATE_HZ = 44100
FLASH, FRAMES = 31, 70
PAL, NTSC, CINEMA = Fraction(1, 25), Fraction(1001, 30000), Fraction(1, 24)


def babble(seconds, seed=0):
    """Something like speech: syllables of gliding tones and noise, with pauses."""
    rng = np.random.default_rng(seed)
    t_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    knots_s = np.arange(0, seconds + 0.2, 0.1)
    pitch_hz = np.interp(t_s, knots_s, rng.uniform(90, 250, len(knots_s)))
    loudness = np.interp(t_s, knots_s, np.maximum(0, rng.uniform(-0.5, 1, len(knots_s))))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    voice = sum(np.sin(k * phase) / k for k in range(1, 12))
    return 0.15 * loudness * (voice + 0.3 * rng.standard_normal(len(t_s)))


def deliver(original, out, sound):
    """Deliver the original's own pictures with the sound of a file."""
    write_film(
        out,
        (frame.rgb for frame in decode_film(original)),
        original=probe_film(original),
        pts=frame_times(original)[1],
        audio_from=sound,
        settings=DeliverySettings(preset="ultrafast"),
    )
    return out


def shifted(film, out, by_s, **encoding):
    """The film's pictures, and its sound later by by_s: as a wrong delivery would be."""
    pictures = ffmpeg.input(str(film))["v:0"]
    sound = ffmpeg.input(str(film), itsoffset=by_s)["a:0"]
    options = {"c": "copy", "movie_timescale": 90000, **encoding}
    run_ffmpeg(ffmpeg.output(pictures, sound, str(out), **options), timeout_s=60)
    return out


# name: (frame interval in s, first frame, audio codec, container, start of the sound in s)
FILMS = {
    "25 fps, aac": (PAL, 0, "aac", ".mp4", 0.0),
    "25 fps, aac in Matroska": (PAL, 0, "aac", ".mkv", 0.0),
    "25 fps, sound starts late": (PAL, 0, "aac", ".mp4", 0.52),
    "25 fps, mp3 starts late in Matroska": (PAL, 0, "libmp3lame", ".mkv", 0.52),
    "25 fps, pictures start late": (PAL, 10, "aac", ".mp4", 0.0),
    "25 fps, pictures start late, pcm": (PAL, 10, "pcm_s16le", ".mkv", 0.0),
    "29.97 fps, mp3": (NTSC, 0, "libmp3lame", ".mp4", 0.0),
    "29.97 fps, aac in a transport stream": (NTSC, 0, "aac", ".ts", 0.0),
    "29.97 fps, pictures start late, pcm": (NTSC, 7, "pcm_s16le", ".mov", 0.0),
    "24 fps, pcm": (CINEMA, 0, "pcm_s16le", ".mov", 0.0),
    "24 fps, mp3 in Matroska": (CINEMA, 0, "libmp3lame", ".mkv", 0.0),
}


@pytest.fixture(params=FILMS)
def beep_film(request, tmp_path, make_film, paint, beep):
    """A film with B-frames that flashes at one frame and beeps from that frame's start on."""
    interval_s, first, codec, suffix, sound_at_s = FILMS[request.param]
    flash_s = float((first + FLASH) * interval_s)
    return make_film(
        tmp_path / f"film{suffix}",
        [first + i for i in range(FRAMES)],
        interval_s,
        pictures=lambda i: paint(4095 if i == FLASH else i),
        b_frames=2,
        audio=(codec, sound_at_s, 0),
        wave=beep(flash_s - sound_at_s),
    )


def test_a_beep_stays_on_its_flash_through_delivery(beep_film, tmp_path, onset_s, flash_of):
    delivered = deliver(beep_film, tmp_path / "delivered.mp4", beep_film)
    index, flash_s = flash_of(delivered)
    assert index == flash_of(beep_film)[0] == FLASH
    offset_s = onset_s(delivered) - flash_s
    # Asked for: 10 ms. Measured over these films: at most 0.5 ms, all of it Matroska's clock.
    assert offset_s == pytest.approx(0, abs=0.001)
    kept_s = offset_s - (onset_s(beep_film) - flash_of(beep_film)[1])
    assert kept_s == pytest.approx(0, abs=0.0005)
    told = measure_sound_shift(delivered, beep_film)
    assert (told.heard, told.matched) == (1, 1)
    # Measured: at most 0.05 ms from zero.
    assert told.shift_s == pytest.approx(kept_s, abs=0.0005)
    assert told.shift_s == pytest.approx(0, abs=0.0001)


def test_a_beep_of_another_file_comes_where_it_was_asked_for(
    beep_film, tmp_path, make_film, paint, onset_s, flash_of
):
    """As a dub: the film's sound from 0.4 s on, put under another film with a flash there."""
    start_s = 0.4
    flash_at = round((flash_of(beep_film)[1] - probe_film(beep_film).start_s - start_s) * 50)
    silent = make_film(
        tmp_path / "silent.mp4",
        range(120),
        Fraction(1, 50),
        pictures=lambda i: paint(4095 if i == flash_at else i),
        b_frames=2,
    )
    sound = cut_sound(beep_film, tmp_path / "sound.mp4", start_s=start_s, duration_s=3.0)
    delivered = deliver(silent, tmp_path / "delivered.mp4", sound)
    picture_s, beep_film_s = probe_film(delivered).start_s, probe_film(beep_film).start_s
    kept_s = (onset_s(delivered) - picture_s) - (onset_s(beep_film) - beep_film_s - start_s)
    assert kept_s == pytest.approx(0, abs=0.0005)
    index, flash_s = flash_of(delivered)
    assert index == flash_at
    assert onset_s(delivered) - flash_s == pytest.approx(0, abs=0.01)
    told = measure_sound_shift(delivered, beep_film, reference_start_s=start_s)
    assert told.shift_s == pytest.approx(0, abs=0.0001)


@pytest.mark.parametrize("by_s", [0.04, -0.04, 0.0105, MAX_SHIFT_S - 0.02])
def test_a_shift_is_seen(by_s, beep_film, tmp_path, onset_s, flash_of):
    delivered = deliver(beep_film, tmp_path / "delivered.mp4", beep_film)
    wrong = shifted(delivered, tmp_path / "wrong.mp4", by_s)
    heard_s = onset_s(wrong) - flash_of(wrong)[1] - (onset_s(delivered) - flash_of(delivered)[1])
    assert heard_s == pytest.approx(by_s, abs=0.0001)  # the test's own shift is what it should be
    assert measure_sound_shift(wrong, beep_film).shift_s == pytest.approx(by_s, abs=0.0002)


@pytest.mark.parametrize("encoding", [{}, {"c:a": "aac", "b:a": "48k"}, {"c:a": "libmp3lame"}])
@pytest.mark.parametrize("by_s", [0.0, 0.0123, -0.04, 0.25])
def test_speech_tells_the_shift_in_every_window(by_s, encoding, tmp_path, make_film):
    film = make_film(
        tmp_path / "film.mov", range(200), PAL, audio=("pcm_s16le", 0.0, 0), wave=babble(8)
    )
    told = measure_sound_shift(
        shifted(film, tmp_path / "wrong.mp4", by_s, **({"c:a": "alac"} | encoding)), film
    )
    assert told.shift_s == pytest.approx(by_s, abs=0.0001)
    assert told.spread_s < 0.0001
    assert told.heard == told.matched == 2


def test_sound_that_runs_away_shows_in_the_spread(tmp_path, make_film):
    """Two minutes: only some windows are read, and they are spread over all of it."""
    seconds = 120
    pts = range(2 * seconds)
    wave = babble(seconds)
    film = make_film(tmp_path / "film.mp4", pts, Fraction(1, 2), audio=("aac", 0, 0), wave=wave)
    slow_at = np.arange(len(wave)) / 1.00005
    slower = make_film(
        tmp_path / "slower.mp4",
        pts,
        Fraction(1, 2),
        audio=("aac", 0, 0),
        wave=np.interp(slow_at, np.arange(len(wave)), wave),
    )
    assert measure_sound_shift(film, film).spread_s < 0.0001
    told = measure_sound_shift(slower, film)
    assert told.heard == told.matched >= 20
    assert told.spread_s == pytest.approx(0.00005 * seconds, rel=0.06)
    assert told.shift_s == pytest.approx(0.000025 * seconds, rel=0.1)


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".avi"])
def test_a_place_in_the_middle_of_a_long_file_is_found(suffix, tmp_path, make_film):
    """Where the file can be entered in the middle, and where it is read from the start."""
    wave = babble(60)
    options = {"codec": "mpeg4"} if suffix == ".avi" else {}
    dub = make_film(
        tmp_path / f"dub{suffix}",
        range(600),
        Fraction(1, 10),
        audio=("libmp3lame", 0, 0),
        wave=wave,
        **options,
    )
    film = make_film(tmp_path / "film.mp4", range(50), Fraction(1, 10))
    sound = cut_sound(dub, tmp_path / "sound.mp4", start_s=41.3, duration_s=6)
    delivered = deliver(film, tmp_path / "delivered.mp4", sound)
    told = measure_sound_shift(delivered, dub, reference_start_s=41.3)
    assert told.shift_s == pytest.approx(0, abs=0.0005)
    assert told.heard == told.matched == 2
    told = measure_sound_shift(delivered, dub, reference_start_s=41.26)
    assert told.shift_s == pytest.approx(-0.04, abs=0.0005)


def test_silence_tells_nothing(tmp_path, make_film):
    film = make_film(
        tmp_path / "film.mp4", range(50), PAL, audio=("aac", 0, 0), wave=np.zeros(2 * RATE_HZ)
    )
    told = measure_sound_shift(film, film)
    assert (told.shift_s, told.spread_s, told.heard, told.matched) == (None, None, 0, 0)


def test_another_sound_and_a_steady_tone_are_heard_but_tell_no_time(tmp_path, make_film):
    def film(name, wave):
        return make_film(tmp_path / name, range(100), PAL, audio=("aac", 0, 0), wave=wave)

    one, other = film("one.mp4", babble(4)), film("other.mp4", babble(4, seed=1))
    told = measure_sound_shift(other, one)
    assert (told.shift_s, told.heard, told.matched) == (None, 1, 0)
    tone = film("tone.mp4", 0.3 * np.sin(2 * np.pi * 441 * np.arange(6 * RATE_HZ) / RATE_HZ))
    told = measure_sound_shift(tone, tone, reference_start_s=0.5)
    assert (told.shift_s, told.heard, told.matched) == (None, 2, 0)


def test_a_film_without_sound_is_refused(tmp_path, make_film):
    silent = make_film(tmp_path / "silent.mp4", range(10), PAL)
    film = make_film(tmp_path / "film.mp4", range(10), PAL, audio=("aac", 0.0, 0.4))
    for pair in ((silent, film), (film, silent)):
        with pytest.raises(UnusableFilm) as caught:
            measure_sound_shift(*pair)
        assert caught.value.reason == FilmReason.NO_AUDIO
