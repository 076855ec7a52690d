"""Exact and repeatable conversion between a film's pixels and 8-bit RGB.

Colour tags are the code points of ITU-T H.273 (2 = unspecified); a range is 1 for limited, 2 for
full, 0 for unspecified.
"""

import av
import cv2
import numpy as np
from av.video.plane import VideoPlane
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

RgbImage = NDArray[np.uint8]

BT709 = 1
UNSPECIFIED = 2
LIMITED_RANGE = 1
FULL_RANGE = 2

# What swscale knows: BT.709, FCC, BT.470BG and SMPTE 170M (both BT.601), SMPTE 240M, BT.2020.
_KNOWN_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_BT601 = 5
_TALLEST_SD_PX = 576

# Without full chroma interpolation swscale darkens every picture by one to two levels; without the
# other two flags the result depends on the processor's instruction set.
_EXACT = Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_TO_RGB = Interpolation.FULL_CHR_H_INT | _EXACT
_FROM_RGB = Interpolation.FULL_CHR_H_INP | _EXACT


def matrix_for(color_space: int, height_px: int) -> int:
    """Colour matrix to compute with: the tagged one, else BT.709 above 576 lines and BT.601 below.

    The rule for untagged films is that of video players; swscale alone would take BT.601 for all.
    """
    known = _KNOWN_MATRICES.get(color_space)
    if known is not None:
        return known
    return BT709 if height_px > _TALLEST_SD_PX else _BT601


class RgbConverter:
    """Converts decoded frames to RGB [H, W, 3] of one size, keeping swscale's tables."""

    def __init__(self, width_px: int, height_px: int, matrix: int) -> None:
        self._reformatter = VideoReformatter()
        self._width_px = width_px
        self._height_px = height_px
        self._matrix = matrix

    def __call__(self, frame: av.VideoFrame) -> RgbImage:
        """8-bit RGB of one frame; the frame's own range tag is honoured, 10 bits become 8."""
        same_size = (frame.width, frame.height) == (self._width_px, self._height_px)
        planar = self._reformatter.reformat(
            frame,
            width=self._width_px,
            height=self._height_px,
            format="gbrp",  # three times as fast as packed RGB under these flags, same values
            src_colorspace=self._matrix,
            interpolation=_TO_RGB | _scaler(same_size),
            threads=1,
        )
        green, blue, red = (_pixels(plane) for plane in planar.planes)
        return np.asarray(cv2.merge([red, green, blue]), np.uint8)


class YuvConverter:
    """Converts RGB [H, W, 3] to frames for an encoder, at the encoder's size."""

    def __init__(
        self, width_px: int, height_px: int, pix_fmt: str, matrix: int, color_range: int
    ) -> None:
        self._reformatter = VideoReformatter()
        self._width_px = width_px
        self._height_px = height_px
        self._pix_fmt = pix_fmt
        self._matrix = matrix
        self._color_range = color_range

    def __call__(self, rgb_HWC: RgbImage) -> av.VideoFrame:
        """One frame in the encoder's pixel format."""
        same_size = rgb_HWC.shape[:2] == (self._height_px, self._width_px)
        return self._reformatter.reformat(
            av.VideoFrame.from_ndarray(rgb_HWC, format="rgb24"),
            width=self._width_px,
            height=self._height_px,
            format=self._pix_fmt,
            dst_colorspace=self._matrix,
            dst_color_range=self._color_range,
            interpolation=_FROM_RGB | _scaler(same_size),
            threads=1,
        )


def encodable_pix_fmt(width_px: int, height_px: int) -> str:
    """yuv420p, or yuv444p for odd sizes: 4:2:0 H.264 cannot hold them, and size is kept."""
    return "yuv444p" if width_px % 2 or height_px % 2 else "yuv420p"


def _scaler(same_size: bool) -> Interpolation:
    return Interpolation.BILINEAR if same_size else Interpolation.BICUBIC


def _pixels(plane: VideoPlane) -> RgbImage:
    stored = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    pixels: RgbImage = stored[:, : plane.width]
    return pixels
