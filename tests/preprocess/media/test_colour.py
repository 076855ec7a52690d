import av
import numpy as np
import pytest

from preprocess.media.colour import RgbConverter, YuvConverter, encodable_pix_fmt, matrix_for


@pytest.fixture
def picture():
    """Smooth colours over the whole range: losses are those of arithmetic, not of subsampling."""
    y, x = np.mgrid[0:96, 0:128]
    return np.stack([x * 2, y * 2.6, 255 - x - y], axis=-1).clip(0, 255).astype(np.uint8)


# swscale cuts full-range chroma down to whole numbers, which is half a level on average.
@pytest.mark.parametrize(("color_range", "bias"), [(1, 0.25), (2, 1.0)])
@pytest.mark.parametrize("matrix", [1, 5, 9])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p"])
def test_there_and_back_neither_darkens_nor_tints(matrix, color_range, bias, pix_fmt, picture):
    frame = YuvConverter(128, 96, pix_fmt, matrix, color_range)(picture)
    back = RgbConverter(128, 96, matrix)(frame)
    error = back.astype(int) - picture
    assert np.abs(error.reshape(-1, 3).mean(0)).max() < bias
    assert np.abs(error).mean() < 1.0


def test_reference_values_of_bt709_and_bt601(picture):
    # ITU-R BT.709 and BT.601, limited range: luma of pure red is 16 + 219 Kr, green 16 + 219 Kg.
    for matrix, red_weight, green_weight in ((1, 0.2126, 0.7152), (5, 0.299, 0.587)):
        for channel, weight in ((0, red_weight), (1, green_weight)):
            pure = np.zeros((16, 16, 3), np.uint8)
            pure[..., channel] = 255
            frame = YuvConverter(16, 16, "yuv444p", matrix, 1)(pure)
            luma = np.frombuffer(frame.planes[0], np.uint8)[0]
            assert luma == pytest.approx(16 + 219 * weight, abs=0.75)


def test_one_converter_serves_frames_of_any_size_and_format(picture):
    convert = RgbConverter(64, 48, 1)
    for pix_fmt in ("yuv420p", "yuv422p10le", "rgb24", "gray", "yuv444p"):
        frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pix_fmt)
        assert convert(frame).shape == (48, 64, 3)


def test_result_outlives_the_frame(picture):
    convert = RgbConverter(128, 96, 1)
    first = convert(av.VideoFrame.from_ndarray(picture, "rgb24"))
    kept = first.copy()
    convert(av.VideoFrame.from_ndarray(255 - picture, "rgb24"))
    assert np.array_equal(first, kept)


@pytest.mark.parametrize(
    ("tag", "height", "matrix"),
    [(1, 100, 1), (6, 2000, 5), (5, 2000, 5), (9, 100, 9), (2, 576, 5), (2, 577, 1), (8, 1080, 1)],
)
def test_matrix_is_the_tagged_one_or_follows_from_the_height(tag, height, matrix):
    assert matrix_for(tag, height) == matrix


def test_odd_sizes_are_not_subsampled():
    assert encodable_pix_fmt(128, 96) == "yuv420p"
    assert {encodable_pix_fmt(*size) for size in ((127, 96), (128, 95), (1, 1))} == {"yuv444p"}
