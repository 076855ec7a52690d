import json
import subprocess
from fractions import Fraction

import av
import ffmpeg
import numpy as np
import pytest

from preprocess.media.decode import decode_film, frame_times
from preprocess.media.deliver import DeliverySettings, write_film
from preprocess.media.errors import FilmReason, UnusableFilm
from preprocess.media.ffmpeg import FfmpegError, find_ffprobe, run_ffmpeg
from preprocess.media.probe import probe_film
from preprocess.media.verify import verify_delivery

QUICK = DeliverySettings(preset="ultrafast")
CFR = list(range(60))
VFR = [*range(30), *(30 + 3 * k for k in range(30))]


def deliver(original, path, audio_from=None, settings=QUICK):
    """Deliver the original's own pictures."""
    write_film(
        path,
        (frame.rgb for frame in decode_film(original)),
        original=probe_film(original),
        pts=frame_times(original)[1],
        audio_from=audio_from,
        settings=settings,
    )
    return path


def ffprobe(path):
    """What an independent program says about a film."""
    told = subprocess.run(
        [find_ffprobe(), "-v", "error", "-count_frames", "-show_streams", "-of", "json", path],
        capture_output=True,
        check=True,
        timeout=60,
    )
    return {s["codec_type"]: s for s in json.loads(told.stdout)["streams"]}


def sound(path, rate=44100):
    """(time of the first sample in s, mono samples) of a film's sound, as players present it."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("s16", "mono", rate)
        decoded = [
            (f.pts * f.time_base, part.to_ndarray().ravel())
            for f in container.decode(audio=0)
            for part in resampler.resample(f)
        ]
    return float(decoded[0][0]), np.concatenate([samples for _, samples in decoded])


def first_loud_s(path):
    start_s, samples = sound(path)
    return start_s + np.flatnonzero(np.abs(samples) > 3000)[0] / 44100


ORIGINALS = {
    "30 fps": {"pts": CFR, "time_base": Fraction(1, 30)},
    "29.97 fps, B-frames": {"pts": CFR, "time_base": Fraction(1001, 30000), "b_frames": 2},
    "23.976 fps in Matroska": {"pts": CFR, "time_base": Fraction(1001, 24000), "suffix": ".mkv"},
    "variable rate, B-frames": {"pts": VFR, "time_base": Fraction(1, 30), "b_frames": 2},
    "starts late": {"pts": [45 + i for i in CFR], "time_base": Fraction(1, 30)},
    "transport stream": {
        "pts": [3600 * i for i in CFR],
        "time_base": Fraction(1, 90000),
        "b_frames": 2,
        "suffix": ".ts",
    },
    "AVI": {"pts": CFR, "time_base": Fraction(1, 25), "codec": "mpeg4", "suffix": ".avi"},
    "turned": {"pts": CFR, "time_base": Fraction(1, 30), "rotation": (90, False, False)},
    "non-square pixels": {"pts": CFR, "time_base": Fraction(1, 25), "sar": Fraction(16, 11)},
    "turned and non-square": {
        "pts": CFR,
        "time_base": Fraction(1, 25),
        "sar": Fraction(16, 11),
        "rotation": (270, False, False),
    },
    "BT.709 full range": {"pts": CFR, "time_base": Fraction(1, 25), "tags": (2, 1, 1, 1)},
    "BT.601": {"pts": CFR, "time_base": Fraction(1, 25), "tags": (1, 6, 6, 6)},
    "ten bits, PQ": {
        "pts": CFR,
        "time_base": Fraction(1, 25),
        "tags": (1, 9, 16, 9),
        "pix_fmt": "yuv420p10le",
    },
    "one frame": {"pts": [0], "time_base": Fraction(1, 25)},
    "two frames": {"pts": [0, 1], "time_base": Fraction(1, 25)},
}


@pytest.mark.parametrize("name", ORIGINALS)
def test_a_delivered_film_takes_the_originals_place(name, tmp_path, make_film, read_index):
    facts = dict(ORIGINALS[name])
    turned, upright = facts.get("rotation"), (192, 96)
    original = make_film(tmp_path / f"film{facts.pop('suffix', '.mp4')}", **facts)
    delivered = deliver(original, tmp_path / "delivered.mp4")
    assert verify_delivery(original, delivered, audio_expected=False) == ()
    if not turned:
        assert [read_index(f.rgb) for f in decode_film(delivered)] == [
            i for i, _ in enumerate(facts["pts"])
        ]
    video = ffprobe(delivered)["video"]
    assert int(video["nb_read_frames"]) == len(facts["pts"])
    width, height = upright[::-1] if turned else upright
    assert (video["width"], video["height"]) == (width, height)
    assert "side_data_list" not in video
    # The index comes before the pictures, so that players start at once.
    content = delivered.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_time_stamps_are_the_originals_to_the_tick(tmp_path, make_film):
    original = make_film(tmp_path / "film.mp4", VFR, b_frames=2)
    delivered = deliver(original, tmp_path / "delivered.mp4")
    assert frame_times(delivered) == frame_times(original)


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (2, 1, 1, 1), (1, 6, 6, 6), (0, 2, 2, 2)])
def test_colours_neither_shift_nor_lose_their_tags(tags, tmp_path, make_film):
    colours = [(200, 60, 40), (30, 180, 90), (60, 50, 220), (128, 128, 128), (210, 160, 130)]
    original = make_film(
        tmp_path / "film.mp4",
        list(range(5)),
        pictures=lambda i: np.full((64, 64, 3), colours[i], np.uint8),
        tags=tags,
    )
    settings = DeliverySettings(crf=4, preset="ultrafast")
    delivered = deliver(original, tmp_path / "delivered.mp4", settings=settings)
    info = probe_film(delivered)
    assert (
        info.color_range,
        info.color_primaries,
        info.color_transfer,
        info.color_space,
    ) == tags
    for old, new in zip(decode_film(original), decode_film(delivered), strict=True):
        # A wrong matrix or range would be ten levels off; rounding twice is up to two.
        assert np.abs(old.rgb.astype(int) - new.rgb).max() <= 2


def test_odd_sizes_are_kept(tmp_path, make_film, paint, read_index):
    original = make_film(
        tmp_path / "film.avi",
        range(5),
        Fraction(1, 25),
        codec="mjpeg",
        pix_fmt="yuvj420p",
        pictures=lambda i: paint(i, 191, 97),
    )
    delivered = deliver(original, tmp_path / "delivered.mp4")
    assert verify_delivery(original, delivered, audio_expected=False) == ()
    assert [read_index(f.rgb) for f in decode_film(delivered)] == list(range(5))


@pytest.mark.parametrize(
    ("codec", "suffix", "delivered_codec"),
    [
        ("aac", ".mp4", "aac"),
        ("libmp3lame", ".mp4", "mp3"),
        ("aac", ".ts", "aac"),
        ("flac", ".mkv", "aac"),
        ("pcm_s16le", ".mkv", "aac"),
    ],
)
def test_sound_is_copied_where_mp4_can_hold_it_and_stays_in_step(
    codec, suffix, delivered_codec, tmp_path, make_film
):
    original = make_film(tmp_path / f"film{suffix}", CFR, audio=(codec, 0.0, 2.0))
    delivered = deliver(original, tmp_path / "delivered.mp4", original)
    assert verify_delivery(original, delivered, audio_expected=True) == ()
    old, new = probe_film(original), probe_film(delivered)
    assert new.audio is not None
    assert new.audio.codec == delivered_codec
    assert first_loud_s(delivered) - new.start_s == pytest.approx(
        first_loud_s(original) - old.start_s, abs=0.002
    )


@pytest.mark.parametrize(("picture_at", "sound_at_s"), [(0, 0.4), (12, 0.0), (45, 1.5), (45, 1.9)])
def test_offset_between_sound_and_pictures_is_kept(picture_at, sound_at_s, tmp_path, make_film):
    original = make_film(
        tmp_path / "film.mkv",
        [picture_at + i for i in CFR],
        audio=("pcm_s16le", sound_at_s, 1.2),
    )
    delivered = deliver(original, tmp_path / "delivered.mp4", original)
    info = probe_film(delivered)
    assert min(info.start_s, info.audio.start_s) == pytest.approx(0, abs=0.03)
    assert first_loud_s(delivered) - info.start_s == pytest.approx(
        sound_at_s - picture_at / 30, abs=0.003
    )
    assert verify_delivery(original, delivered, audio_expected=True) == ()


def test_a_longer_dub_is_cut_to_the_film_and_a_shorter_one_stays(tmp_path, make_film):
    original = make_film(tmp_path / "film.mp4", CFR, audio=("aac", 0.0, 2.0))
    longer = make_film(tmp_path / "longer.mp4", list(range(150)), audio=("aac", 0.0, 5.0))
    shorter = make_film(tmp_path / "shorter.mp4", list(range(30)), audio=("aac", 0.0, 1.0))
    for dub, wanted_s in ((longer, 2.0), (shorter, 1.0)):
        delivered = deliver(original, tmp_path / "delivered.mp4", dub)
        info = probe_film(delivered)
        assert info.audio.duration_s == pytest.approx(wanted_s, abs=0.06)
        assert verify_delivery(original, delivered, audio_expected=True) == ()


@pytest.mark.parametrize("codec", ["pcm_s16le", "aac", "libmp3lame"])
def test_sound_before_the_film_begins_is_cut_off(codec, tmp_path, make_film):
    original = make_film(tmp_path / "film.mp4", CFR)
    early = make_film(tmp_path / "early.mkv", [12, 13], audio=(codec, 0.0, 1.2))
    delivered = deliver(original, tmp_path / "delivered.mp4", early)
    start_s, samples = sound(delivered)
    last_loud_s = start_s + np.flatnonzero(np.abs(samples) > 3000)[-1] / 44100
    assert first_loud_s(delivered) == pytest.approx(0, abs=0.03)
    assert last_loud_s == pytest.approx(1.2 - 12 / 30, abs=0.03)
    assert verify_delivery(original, delivered, audio_expected=True) == ()


@pytest.mark.parametrize("picture_at", [0, 12])
def test_zero_in_a_file_of_sound_alone_is_the_first_picture(picture_at, tmp_path, make_film):
    original = make_film(
        tmp_path / "film.mkv", [picture_at + i for i in CFR], audio=("pcm_s16le", 0.0, 1.0)
    )
    film = make_film(tmp_path / "dub.mkv", CFR, audio=("pcm_s16le", 0.25, 1.0))
    dub = tmp_path / "dub.mka"
    run_ffmpeg(ffmpeg.input(str(film)).output(str(dub), vn=None, c="copy"), timeout_s=60)
    delivered = deliver(original, tmp_path / "delivered.mp4", dub)
    start_s = probe_film(delivered).start_s
    assert first_loud_s(delivered) - start_s == pytest.approx(0.25, abs=0.003)


def test_same_input_gives_the_same_bytes(tmp_path, make_film):
    original = make_film(tmp_path / "film.mkv", CFR, audio=("pcm_s16le", 0.0, 2.0))
    first = deliver(original, tmp_path / "a.mp4", original).read_bytes()
    assert deliver(original, tmp_path / "b.mp4", original).read_bytes() == first


def test_names_are_just_names(tmp_path, make_film):
    original = make_film(tmp_path / "film.mp4", CFR[:5], audio=("aac", 0.0, 0.5))
    odd = original.rename(tmp_path / "it's %03d\n-映画:.mp4")
    delivered = deliver(odd, tmp_path / "-out 'put'\n%d.mp4", odd)
    assert verify_delivery(odd, delivered, audio_expected=True) == ()


@pytest.mark.parametrize(("count", "message"), [(4, "4 frames for the 5"), (6, "more frames than")])
def test_another_number_of_frames_is_refused_and_leaves_nothing(
    count, message, tmp_path, make_film, paint
):
    original = make_film(tmp_path / "film.mp4", CFR[:5])
    with pytest.raises(ValueError, match=message):
        write_film(
            tmp_path / "delivered.mp4",
            (paint(i) for i in range(count)),
            original=probe_film(original),
            pts=range(5),
            audio_from=None,
            settings=QUICK,
        )
    assert list(tmp_path.iterdir()) == [original]


def test_a_failure_leaves_nothing(tmp_path, make_film, paint, monkeypatch):
    original = make_film(tmp_path / "film.mp4", CFR[:5])
    with pytest.raises(UnusableFilm) as caught:
        deliver(original, tmp_path / "delivered.mp4", audio_from=original)
    assert caught.value.reason == FilmReason.NO_AUDIO
    monkeypatch.setenv("E3D_FFMPEG", "/bin/false")
    with pytest.raises(FfmpegError):
        deliver(original, tmp_path / "delivered.mp4")
    assert list(tmp_path.iterdir()) == [original]


def test_differences_are_named(tmp_path, make_film, paint):
    original = make_film(tmp_path / "film.mp4", CFR, tags=(1, 1, 1, 1), audio=("aac", 0.0, 2.0))
    other = make_film(
        tmp_path / "other.mp4", CFR[:40], Fraction(1, 25), pictures=lambda i: paint(i, 96, 64)
    )
    named = {d.what for d in verify_delivery(original, other, audio_expected=True)}
    assert named == {"frames", "size", "colour tags", "audio", "fps", "duration_s"}
    slower = make_film(tmp_path / "slower.mp4", VFR, tags=(1, 1, 1, 1))
    named = {d.what for d in verify_delivery(original, slower, audio_expected=False)}
    assert named == {"fps", "duration_s", "times_s"}


def test_real_films_are_delivered_frame_for_frame(face_film, no_face_film, tmp_path):
    for film in (face_film, no_face_film):
        delivered = deliver(film, tmp_path / "delivered.mp4", film)
        assert verify_delivery(film, delivered, audio_expected=True) == ()
    assert probe_film(deliver(face_film, tmp_path / "a.mp4", face_film)).audio.codec == "mp3"
