import numpy as np
import pytest

from preprocess.media.decode import decode_film, frame_times

WIDTH, HEIGHT, N = 160, 64, 12
STEP_PX = 4  # from field to field


def field(index: int) -> np.ndarray:
    """A grey field with a bright bar that moves to the right."""
    rgb = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    rgb[:, 10 + STEP_PX * index : 30 + STEP_PX * index] = 220
    return rgb


def woven(index: int) -> np.ndarray:
    """Two fields of different times, line by line, the lower one first (as x264 is told)."""
    rgb = field(2 * index)
    rgb[::2] = field(2 * index + 1)[::2]
    return rgb


def combs(rgb: np.ndarray) -> float:
    lines = rgb.astype(int)
    return float(np.abs(2 * lines[1:-1] - lines[:-2] - lines[2:]).mean())


INTERLACED = {
    "H.264": {"x264_params": "bff=1"},
    "H.264 with B-frames": {"x264_params": "bff=1", "b_frames": 2},
    "H.264, 10 bits, full range": {
        "x264_params": "bff=1",
        "pix_fmt": "yuv422p10le",
        "tags": (2, 1, 1, 1),
    },
}


@pytest.mark.parametrize("name", INTERLACED)
def test_what_moves_in_an_interlaced_film_has_no_combs_and_its_own_time(name, tmp_path, make_film):
    path = make_film(tmp_path / "film.mkv", range(N), pictures=woven, **INTERLACED[name])
    frames = list(decode_film(path))
    assert [frame.pts for frame in frames] == frame_times(path)[1]
    assert len(frames) == N
    for index, frame in enumerate(frames):
        assert combs(woven(index)) > 10
        if 0 < index < N - 1:  # the first and the last one lack a neighbour to tell what moves
            assert combs(frame.rgb) < 1.0
            # It shows its time stamp's time, which is that of the first field; colours are kept.
            assert np.abs(frame.rgb.astype(int) - field(2 * index)).mean() < 3.0
        assert combs(frame.rgb) < 5.0


def test_still_parts_keep_every_line(tmp_path, make_film):
    rows = np.where(np.arange(HEIGHT) % 4 < 2, 60, 200).astype(np.uint8)
    still = np.repeat(np.repeat(rows[:, None, None], WIDTH, 1), 3, 2)
    path = make_film(tmp_path / "film.mkv", range(N), pictures=lambda _: still, x264_params="bff=1")
    for frame in list(decode_film(path))[1:-1]:
        assert np.abs(frame.rgb.astype(int) - still).mean() < 4.0


def test_a_progressive_film_is_left_as_it_is(tmp_path, make_film):
    path = make_film(tmp_path / "film.mkv", range(N), pictures=woven)
    assert all(combs(frame.rgb) > 10 for frame in decode_film(path))


def test_one_interlaced_frame_alone_comes_out(tmp_path, make_film):
    path = make_film(tmp_path / "film.mkv", [7], pictures=woven, x264_params="bff=1")
    assert len(list(decode_film(path))) == 1


def test_progressive_and_interlaced_parts_of_any_size_follow_each_other(
    tmp_path, make_film, paint, read_index
):
    parts = [
        make_film(
            tmp_path / f"{k}.h264",
            range(8),
            pictures=lambda index, k=k, size=size: paint(8 * k + index, *size),
            x264_params=params,
        )
        for k, (size, params) in enumerate(
            [((192, 96), ""), ((192, 96), "bff=1"), ((384, 192), "bff=1"), ((192, 96), "")]
        )
    ]
    path = tmp_path / "all.h264"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = list(decode_film(path))
    assert [frame.pts for frame in frames] == frame_times(path)[1]
    assert [read_index(frame.rgb) for frame in frames] == list(range(32))


def test_an_interlaced_film_that_was_turned_comes_upright(tmp_path, make_film, paint, read_index):
    path = make_film(
        tmp_path / "film.mp4",
        range(N),
        pictures=lambda index: np.ascontiguousarray(np.rot90(paint(index))),
        rotation=(-90, False, False),
        x264_params="bff=1",
    )
    frames = list(decode_film(path))
    assert [read_index(frame.rgb) for frame in frames] == list(range(N))
    assert frames[0].rgb.shape == (96, 192, 3)
