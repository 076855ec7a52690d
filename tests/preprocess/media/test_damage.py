"""Damaged films: every one ends within its time as frames, or as a typed reason, or both.

What is promised depends on the damage. Always: pictures that lie whole before it come out exactly.
Where a film is cut or overwritten with zeros: no spoilt picture comes out either. A changed bit may
make sense to a decoder, so there is no such promise for flipped bits.
"""

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import ffmpeg
import numpy as np
import pytest

from preprocess.media.clips import ClipWriter
from preprocess.media.decode import DecodeReport, decode_film, frame_times
from preprocess.media.errors import FilmReason
from preprocess.media.ffmpeg import run_ffmpeg
from preprocess.media.probe import probe_film

N = 40
KINDS = ("cut", "flipped", "header", "zeroed")
SEEDS = range(5)
SECOND = {"t": 1.2, "c": "copy"}
INDEX_FIRST = {"movflags": "+faststart"}

# Ten films of real footage: 10 films x 4 kinds x 5 seeds = 200 variants.
REAL = {
    "pexels.mp4": ("pexels_film", INDEX_FIRST),
    "pexels.mkv": ("pexels_film", {}),
    "pexels.ts": ("pexels_film", {}),
    "pexels.flv": ("pexels_film", {}),
    "pexels, index last.mov": ("pexels_film", {}),
    "pexels, fragments.mp4": ("pexels_film", {"movflags": "+frag_keyframe+empty_moov"}),
    "face.mp4": ("face_film", INDEX_FIRST),
    "face.mkv": ("face_film", {}),
    "face.nut": ("face_film", {}),
    "landscape.mp4": ("no_face_film", INDEX_FIRST),
}
MADE = {
    "hevc.mp4": {"codec": "libx265", "options": INDEX_FIRST},
    "hevc, 10 bits.mkv": {"codec": "libx265", "pix_fmt": "yuv420p10le"},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "vp8.webm": {"codec": "libvpx"},
    "mpeg4.avi": {"codec": "mpeg4", "time_base": Fraction(1, 25)},
    "mpeg2.ts": {"codec": "mpeg2video", "time_base": Fraction(1, 25)},
    "mpeg2.mpg": {"codec": "mpeg2video", "time_base": Fraction(1, 25)},
    "wmv2.asf": {"codec": "wmv2", "time_base": Fraction(1, 25)},
    "prores.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
}
# Their decoders fill holes silently, and zeros are nothing unusual there.
HIDES_HOLES = ("mpeg2.mpg", "prores.mov", "wmv2.asf", "pexels.flv", "face.nut")
# The demuxer does not tell where in the file a picture lies.
WITHOUT_PLACES = ("mpeg2.mpg", "wmv2.asf")


@dataclass(frozen=True)
class Whole:
    """A sound film: its bytes, its frames, and (place in the file, pts in s) of its packets."""

    name: str
    content: bytes
    frames: list
    packets: list[tuple[int, Fraction]]

    def sure(self, damaged_at: int) -> int:
        """Frames that are shown before any whose packet may reach to the damage."""
        ends = [place for place, _ in self.packets[1:]] + [len(self.content)]
        # A transport stream's reader marks the packet before the one that lacks something.
        doubtful = 3 if self.name.endswith(".ts") else 1
        sure = sum(end <= damaged_at for end in ends)
        spoilt = [pts_s for _, pts_s in self.packets[max(0, sure + 1 - doubtful) :]]
        return sum(not spoilt or time_s < min(spoilt) for time_s, _ in self.frames)


@pytest.fixture(scope="module")
def whole_film(request, tmp_path_factory, make_film, read_apart) -> Callable[[str], Whole]:
    folder = tmp_path_factory.mktemp("whole")
    known: dict[str, Whole] = {}

    def of(name: str) -> Whole:
        if name not in known:
            path = folder / name
            if name in REAL:
                fixture, options = REAL[name]
                source = ffmpeg.input(str(request.getfixturevalue(fixture)))
                run_ffmpeg(source.output(str(path), **SECOND, **options), timeout_s=60)
            elif name == "our own.mp4":
                with ClipWriter(path, 160, 96) as clip:
                    for index in range(N):
                        clip.write(picture(index))
            else:
                make_film(path, range(N), pictures=picture, **MADE[name])
            known[name] = Whole(name, path.read_bytes(), read_apart(path).frames, packets(path))
        return known[name]

    return of


def picture(index: int) -> np.ndarray:
    """Something that moves and has detail everywhere, so that every byte of the film matters."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (24, 40, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    return np.roll(noise, (index, 3 * index), axis=(0, 1))


def packets(path: Path) -> list[tuple[int, Fraction]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [
            (p.pos or 0, (p.dts if p.pts is None else p.pts) * stream.time_base)
            for p in container.demux(stream)
            if p.size
        ]


def damage(content: bytes, kind: str, rng: random.Random) -> tuple[bytes, int]:
    """(damaged content, place of the first damage)."""
    damaged, size = bytearray(content), len(content)
    if kind == "cut":
        place = rng.randrange(1, size)
        return content[:place], place
    if kind == "header":
        place = rng.randrange(256)
        damaged[place : place + 32] = rng.randbytes(32)
    elif kind == "zeroed":
        length = rng.choice([512, 2048, 4096])
        place = rng.randrange(size - length)
        damaged[place : place + length] = bytes(length)
    else:
        places = [rng.randrange(size) for _ in range(rng.choice([1, 8, 64]))]
        for place in places:
            damaged[place] ^= 1 << rng.randrange(8)
        place = min(places)
    return bytes(damaged), place


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*REAL, *MADE, "our own.mp4"])
def test_a_damaged_film_gives_its_good_frames_or_a_reason(
    name, kind, tmp_path, whole_film, read_apart
):
    whole = whole_film(name)
    assert len(whole.frames) >= 28
    for seed in SEEDS:
        content, place = damage(whole.content, kind, random.Random(f"{name} {kind} {seed}"))
        path = tmp_path / f"{zlib.crc32(content):08x}{Path(name).suffix}"
        path.write_bytes(content)
        read = read_apart(path)
        path.unlink()
        assert bool(read.frames) != bool(read.reason)
        assert not read.reason or read.reason in set(FilmReason)
        assert read.ticks <= 60 * 25 * N
        index_is_whole = whole.packets[0][0] < place and not (
            kind == "cut" and content.find(b"moov") < 0 and whole.content.find(b"moov") > 0
        )
        if index_is_whole and name not in WITHOUT_PLACES:
            sure = whole.sure(place)
            assert read.frames[:sure] == whole.frames[:sure], f"seed {seed}"
        if kind == "cut" or (kind == "zeroed" and index_is_whole and name not in HIDES_HOLES):
            assert set(read.frames) <= set(whole.frames), f"seed {seed}"


def test_a_stray_time_stamp_does_not_stretch_the_film(tmp_path, make_film, read_index):
    path = make_film(tmp_path / "film.mkv", range(N))
    content = path.read_bytes()
    block = b"\x81" + (667).to_bytes(2)  # track 1, 667 ms after the cluster's start: frame 20
    assert content.count(block) == 1
    path.write_bytes(content.replace(block, b"\x81" + (30_000).to_bytes(2)))
    report = DecodeReport()
    assert [read_index(frame.rgb) for frame in decode_film(path, report)] == list(range(20))
    assert "jumps" in report.damage


def test_a_gap_of_many_seconds_is_kept_and_one_of_minutes_ends_the_film(tmp_path, make_film):
    still = make_film(tmp_path / "still.mkv", [*range(20), *range(500, 520)])
    report = DecodeReport()
    assert len(frame_times(still, report)[1]) == 40
    assert report == DecodeReport(frames=40)
    torn = make_film(tmp_path / "torn.mkv", [*range(20), *range(50_000, 50_020)])
    assert len(frame_times(torn, report)[1]) == 20
    assert "jumps ahead" in report.damage


def test_an_index_that_leads_to_the_same_bytes_without_end_is_left(tmp_path, make_film):
    path = make_film(tmp_path / "film.mp4", [0], pictures=picture)
    path.write_bytes(with_one_sample_repeated(path.read_bytes(), 100_000))
    report = DecodeReport()
    assert 1 <= len(frame_times(path, report)[1]) < 1000
    assert "again and again" in report.damage


def with_one_sample_repeated(content: bytes, times: int) -> bytes:
    """An mp4 of one sample whose index names it so many times."""

    def grown(box: bytes) -> bytes:
        size, kind = int.from_bytes(box[:4]), box[4:8]
        assert size == len(box)
        body = box[8:]
        if kind == b"stts":
            body = body[:8] + times.to_bytes(4) + body[12:]
        elif kind == b"stsz":
            body = body[:8] + times.to_bytes(4)  # one size for all
        elif kind == b"stco":
            body = body[:4] + times.to_bytes(4) + body[8:12] * times
        elif kind == b"edts":
            kind = b"free"
        elif kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            body = b"".join(map(grown, boxes(body)))
        return (len(body) + 8).to_bytes(4) + kind + body

    return b"".join(grown(box) for box in boxes(content))


def boxes(content: bytes) -> list[bytes]:
    found = []
    while content:
        size = int.from_bytes(content[:4])
        found.append(content[:size])
        content = content[size:]
    return found


def test_sound_that_nobody_can_decode_is_no_crash(tmp_path, make_film):
    path = make_film(tmp_path / "film.mp4", range(3), audio=("aac", 0.0, 1.0))
    path.write_bytes(path.read_bytes().replace(b"mp4a", b"zzzz").replace(b"esds", b"zzzz"))
    audio = probe_film(path).audio
    assert audio is not None
    assert (audio.codec, audio.sample_rate_hz, audio.channels) == ("unknown", 0, 0)


def test_damage_before_the_first_picture_is_out_does_not_spoil_those_that_follow(
    tmp_path, make_film
):
    path = make_film(tmp_path / "film.mp4", range(N), pictures=picture, b_frames=3)
    sound = [frame.rgb for frame in decode_film(path)]
    content = bytearray(path.read_bytes())
    place, size = packets(path)[1][0], 256
    content[place + 64 : place + 64 + size] = bytes(size)
    path.write_bytes(content)
    report = DecodeReport()
    given = [frame.rgb for frame in decode_film(path, report)]
    assert len(given) == 1
    assert np.array_equal(given[0], sound[0])
    assert "zeros" in report.damage


def test_a_transport_stream_that_lacks_packets_ends_before_the_loss(tmp_path, make_film):
    path = make_film(tmp_path / "film.ts", range(N), pictures=picture)
    sound = [frame.rgb for frame in decode_film(path)]
    content = path.read_bytes()
    place = packets(path)[17][0] + 188
    path.write_bytes(content[:place] + content[place + 188 :])
    report = DecodeReport()
    given = [frame.rgb for frame in decode_film(path, report)]
    assert 15 <= len(given) <= 17
    assert all(map(np.array_equal, given, sound))
    assert "missing" in report.damage


def test_two_halves_of_a_broadcast_joined_are_one_film(tmp_path, make_film, read_index, paint):
    halves = [
        make_film(
            tmp_path / f"{first}.ts",
            range(first, first + 24),
            pictures=lambda index, first=first: paint(first + index),
            options={"muxdelay": "0", "muxpreload": "0"},
        ).read_bytes()
        for first in (0, 24)
    ]
    path = tmp_path / "film.ts"
    path.write_bytes(b"".join(halves))
    with av.open(str(path)) as container:
        assert any(packet.is_corrupt for packet in container.demux(video=0))
    report = DecodeReport()
    assert [read_index(frame.rgb) for frame in decode_film(path, report)] == list(range(48))
    assert report == DecodeReport(frames=48)


def test_an_avi_that_lacks_a_picture_ends_there_since_all_later_times_are_wrong(
    tmp_path, make_film, read_index
):
    path = make_film(tmp_path / "film.avi", range(N), Fraction(1, 25), codec="mpeg4")
    content = bytearray(path.read_bytes())
    place = packets(path)[20][0] - 8  # the chunk's head: name and size
    assert content[place : place + 4] == b"00dc"
    content[place : place + 8] = bytes(8)
    path.write_bytes(content)
    report = DecodeReport()
    assert [read_index(frame.rgb) for frame in decode_film(path, report)] == list(range(20))
    assert "missing" in report.damage
