"""Whole pictures from interlaced ones, so that what moves has no combs."""

from collections import deque
from collections.abc import Iterator

import av
from av.filter import Graph

# What the filter can work on.
_MIN_WIDTH_PX, _MIN_HEIGHT_PX = 3, 4


def deinterlaced(
    frames: Iterator[tuple[av.VideoFrame, int]],
) -> Iterator[tuple[av.VideoFrame, int]]:
    """Give the same frames with those woven that are flagged as interlaced; the pts are kept.

    Progressive frames are given as they are. One frame is kept in hand once the first interlaced
    one has been met, since its neighbours in time tell what moves.
    """
    weave: _Filter | None = None
    for frame, pts in frames:
        if weave is not None and not weave.fits(frame):
            yield from weave.rest()
            weave = None
        if weave is None and frame.interlaced_frame and _is_large_enough(frame):
            weave = _Filter(frame)
        if weave is None:
            yield frame, pts
        else:
            yield from weave.put(frame, pts)
    if weave is not None:
        yield from weave.rest()


class _Filter:
    """bwdif: one frame out for each one in, in order, a frame later."""

    def __init__(self, frame: av.VideoFrame) -> None:
        self._kind = _kind(frame)
        self._pts: deque[int] = deque()
        width, height, pix_fmt, space, color_range = self._kind
        self._graph = Graph()
        self._graph.threads = 1
        source = self._graph.add(
            "buffer",
            f"video_size={width}x{height}:pix_fmt={pix_fmt}:time_base=1/1"
            f":colorspace={space}:range={color_range}",
        )
        bwdif = self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
        self._graph.link_nodes(source, bwdif, self._graph.add("buffersink")).configure()

    def fits(self, frame: av.VideoFrame) -> bool:
        return _kind(frame) == self._kind

    def put(self, frame: av.VideoFrame, pts: int) -> Iterator[tuple[av.VideoFrame, int]]:
        self._pts.append(pts)
        self._graph.vpush(frame)
        return self._pull()

    def rest(self) -> Iterator[tuple[av.VideoFrame, int]]:
        self._graph.vpush(None)
        return self._pull()

    def _pull(self) -> Iterator[tuple[av.VideoFrame, int]]:
        while self._pts:
            try:
                frame = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            yield frame, self._pts.popleft()


def _kind(frame: av.VideoFrame) -> tuple[int, int, str, int, int]:
    return frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range


def _is_large_enough(frame: av.VideoFrame) -> bool:
    return frame.width >= _MIN_WIDTH_PX and frame.height >= _MIN_HEIGHT_PX
