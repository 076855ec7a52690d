import json
import os
import pickle
from dataclasses import asdict
from fractions import Fraction

import av
import cv2
import ffmpeg
import numpy as np
import pytest

from preprocess.media.decode import decode_film
from preprocess.media.errors import FilmReason, UnusableFilm
from preprocess.media.ffmpeg import run_ffmpeg
from preprocess.media.probe import probe_audio, probe_film


def reason_of(path):
    with pytest.raises(UnusableFilm) as caught:
        probe_film(path)
    detail = caught.value.detail
    assert detail
    assert "\n" not in detail
    return caught.value.reason


def write_sound(path, codec="aac"):
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=44100)
        samples = np.zeros((1, 1024), np.int16)
        for first in range(0, 44100, 1024):
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 44100, first, Fraction(1, 44100)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", FilmReason.EMPTY),
        (b"This is only text.\n" * 100, FilmReason.NOT_MEDIA),
        (bytes(4096), FilmReason.NOT_MEDIA),
        (b"\x00", FilmReason.NOT_MEDIA),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), FilmReason.NOT_A_FILM),
        (b"GIF89a" + bytes(100), FilmReason.NOT_A_FILM),
        (b"\x00\x00\x00\x20ftypisom" + bytes(4096), FilmReason.TRUNCATED),
    ],
)
@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film"])
def test_content_that_is_no_film_has_a_reason(content, reason, name, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    assert reason_of(path) == reason


def test_paths_that_are_no_readable_files_have_a_reason(tmp_path):
    assert reason_of(tmp_path / "gone.mp4") == FilmReason.VANISHED
    assert reason_of(tmp_path) == FilmReason.NOT_A_FILE
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    assert reason_of(pipe) == FilmReason.NOT_A_FILE
    loop = tmp_path / "loop.mp4"
    loop.symlink_to(loop)
    assert reason_of(loop) == FilmReason.UNREADABLE
    assert reason_of(tmp_path / ("x" * 300)) == FilmReason.UNREADABLE


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_film_without_permission_is_unreadable(tmp_path, make_film):
    path = make_film(tmp_path / "film.mp4", [0])
    path.chmod(0)
    assert reason_of(path) == FilmReason.UNREADABLE


def test_an_unfinished_mp4_is_truncated(tmp_path, make_film):
    path = make_film(tmp_path / "film.mp4", list(range(30)))
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"moov") - 4])
    assert reason_of(path) == FilmReason.TRUNCATED


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_still_image_is_no_film(suffix, tmp_path):
    image, film = tmp_path / f"image{suffix}", tmp_path / "film.mp4"
    cv2.imwrite(str(image), np.zeros((64, 64, 3), np.uint8))
    assert reason_of(image) == FilmReason.NOT_A_FILM
    image.rename(film)
    assert reason_of(film) == FilmReason.NOT_A_FILM


@pytest.mark.parametrize("suffix", [".m4a", ".mp4", ".mp3", ".wav", ".mkv"])
def test_sound_alone_has_no_video(suffix, tmp_path):
    codec = {".mp3": "mp3", ".wav": "pcm_s16le"}.get(suffix, "aac")
    path = write_sound(tmp_path / f"sound{suffix}", codec)
    assert reason_of(path) == FilmReason.NO_VIDEO
    audio, video_start_s = probe_audio(path)
    assert (audio.codec, audio.sample_rate_hz, video_start_s) == (codec, 44100, None)


def test_cover_art_is_no_video(tmp_path):
    sound = write_sound(tmp_path / "sound.m4a")
    cover, path = tmp_path / "cover.jpg", tmp_path / "film.mp4"
    cv2.imwrite(str(cover), np.zeros((64, 64, 3), np.uint8))
    output = ffmpeg.output(
        ffmpeg.input(str(sound))["a"],
        ffmpeg.input(str(cover))["v"],
        str(path),
        **{"c": "copy", "disposition:v:0": "attached_pic"},
    )
    run_ffmpeg(output, timeout_s=60)
    with av.open(str(path)) as container:
        assert container.streams.video
    assert reason_of(path) == FilmReason.NO_VIDEO


def test_a_silent_film_has_no_audio(tmp_path, make_film):
    path = make_film(tmp_path / "film.mp4", [0])
    assert probe_film(path).audio is None
    with pytest.raises(UnusableFilm) as caught:
        probe_audio(path)
    assert caught.value.reason == FilmReason.NO_AUDIO


@pytest.mark.parametrize("name", ["film.mp4", "film.m3u8", "film.sdp", "film.mpd", "film%d.ts"])
@pytest.mark.parametrize(
    "script",
    [
        "ffconcat version 1.0\nfile {other}\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{other}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\nhttp://127.0.0.1:9/film.ts\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">\n'
        '<Period><AdaptationSet mimeType="video/mp2t"><Representation id="1"><BaseURL>{other}'
        "</BaseURL></Representation></AdaptationSet></Period></MPD>\n",
        '<asx version="3.0"><entry><ref href="file://{other}"/></entry></asx>\n',
        "[Reference]\nRef1=http://127.0.0.1:9/film.asf\n",
    ],
)
def test_a_playlist_does_not_open_other_files(script, name, tmp_path, make_film):
    other = make_film(tmp_path / "other.ts", [0, 1, 2])
    path = tmp_path / name
    path.write_text(script.format(other=other))
    assert reason_of(path) == FilmReason.NOT_MEDIA


def test_pictures_beyond_the_limit_are_too_large(tmp_path, make_film):
    path = make_film(
        tmp_path / "film.avi",
        [0],
        codec="mjpeg",
        pix_fmt="yuvj420p",
        pictures=lambda _: np.zeros((4400, 8192, 3), np.uint8),
    )
    assert reason_of(path) == FilmReason.TOO_LARGE


def test_a_codec_that_nobody_knows_is_undecodable(tmp_path, make_film):
    path = make_film(tmp_path / "film.mp4", list(range(5)))
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC"))
    assert reason_of(path) == FilmReason.UNDECODABLE


@pytest.mark.parametrize(
    "name",
    [
        'it\'s "quoted".mp4',
        "two\nlines.mp4",
        "žlutý-映画-🎬.mp4",
        "-leading.mp4",
        "http:colon.mp4",
        "percent%03d.mp4",
        "star*?.mp4",
        " .mp4",
        "film.txt",
    ],
)
def test_odd_names_are_just_names(name, tmp_path, make_film, read_index, monkeypatch):
    make_film(tmp_path / "film.mp4", [0, 1, 2]).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    relative = type(tmp_path)(name)
    assert probe_film(relative).frames_hint == 3
    assert [read_index(f.rgb) for f in decode_film(relative)] == [0, 1, 2]


def test_a_name_that_is_no_unicode_is_usable_or_has_a_reason(tmp_path, make_film):
    path = tmp_path / os.fsdecode(b"film-\xff.mp4")
    make_film(tmp_path / "film.mp4", [0, 1, 2]).rename(path)
    try:
        assert probe_film(path).frames_hint == 3
    except UnusableFilm as error:
        assert error.reason == FilmReason.UNREADABLE  # noqa: PT017


def test_facts_of_a_plain_film(tmp_path, make_film):
    path = make_film(
        tmp_path / "film.mp4",
        list(range(60)),
        Fraction(1001, 30000),
        tags=(1, 1, 1, 1),
        audio=("aac", 0.0, 2.0),
    )
    info = probe_film(path)
    assert (info.width, info.height) == (info.stored_width, info.stored_height) == (192, 96)
    assert info.rate == Fraction(30000, 1001)
    assert info.fps == pytest.approx(29.97003)
    assert info.duration_s == pytest.approx(60 * 1001 / 30000)
    assert (info.frames_hint, info.start_s, info.rotation_deg, info.sar) == (60, 0.0, 0, 1)
    assert (info.codec, info.pix_fmt, info.interlaced) == ("h264", "yuv420p", False)
    tags = (info.color_range, info.color_primaries, info.color_transfer, info.color_space)
    assert tags == (1, 1, 1, 1)
    assert info.audio is not None
    assert (info.audio.codec, info.audio.sample_rate_hz, info.audio.channels) == ("aac", 44100, 1)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_size_is_told_as_shown(degrees, tmp_path, make_film):
    path = make_film(
        tmp_path / "film.mp4", [0, 1], rotation=(degrees, False, False), sar=Fraction(4, 3)
    )
    info = probe_film(path)
    shape = next(decode_film(path)).rgb.shape
    assert (info.height, info.width) == shape[:2]
    assert (info.width, info.height) == ((96, 256) if degrees in (90, 270) else (256, 96))
    assert (info.stored_width, info.stored_height) == (192, 96)
    assert info.rotation_deg == (360 - degrees) % 360
    assert info.sar == Fraction(4, 3)


def test_start_and_interlacing_are_told(tmp_path, make_film):
    late = probe_film(make_film(tmp_path / "late.mkv", [45, 46, 47]))
    assert late.start_s == pytest.approx(1.5)
    assert not late.interlaced
    woven = make_film(tmp_path / "woven.mkv", [0, 1, 2], x264_params="bff=1")
    assert probe_film(woven).interlaced


def test_facts_are_json(tmp_path, make_film):
    info = probe_film(make_film(tmp_path / "film.mp4", [0, 1], audio=("aac", 0.0, 1.0)))
    assert json.loads(json.dumps(asdict(info)))["audio"]["codec"] == "aac"


def test_the_finding_survives_pickling():
    error = pickle.loads(pickle.dumps(UnusableFilm(FilmReason.EMPTY, "the file is empty")))
    assert (error.reason, error.detail) == (FilmReason.EMPTY, "the file is empty")


def test_real_films(face_film, pexels_film):
    face = probe_film(face_film)
    assert (face.width, face.height, face.rate, face.frames_hint) == (640, 360, 30, 72)
    assert face.audio is not None
    assert face.audio.codec == "mp3"
    assert probe_film(pexels_film).rate == Fraction(24000, 1001)
