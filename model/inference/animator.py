"""A trained network animates portraits, frame by frame.

Shape suffixes: T frames, B frames of one batch, H, W, C channels, E expression coefficients,
25 camera label.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model.export3d.generator import SourceTokens, join_tokens
from model.export3d.network import Export3D
from model.inference.mixing import FrameMixer
from model.precision import Precision, arithmetic

Numbers = NDArray[np.floating] | Tensor


@dataclass(frozen=True)
class Speed:
    """Ways to compute the same frames in less time; each changes their last digits.

    Times are of export3d_mini on one core of a CPU (`python -m benchmarks.render`).
    """

    channels_last: bool = True
    """Whether convolutions hold the channels of a pixel side by side: a tenth to a fifth less
    time."""
    precision: Precision = "float32"
    """Arithmetic of everything but volume rendering. With bf16 some bytes change by one level; a
    third less time on a CPU that knows it, many times as much on one that does not."""
    compiled: bool = False
    """Whether torch.compile fuses operations (on a GPU as CUDA graphs): a tenth less time, but the
    first frame takes minutes."""


class Animator:
    """Renders portraits with given expressions from given cameras, for any number of threads.

    Takes the network over: moves it to `device` and puts it in eval mode. What does not depend on
    the expression is computed once per source (Spec 2.10.3).

    On a CPU every frame is computed alone, so that its bytes depend on nothing but its own inputs:
    not on `batch`, nor on how a shot was cut into pieces. (Matrix products of one to some ten rows
    take other kernels than longer ones and round differently; about one byte in 100,000 would
    change by one level. It costs a small network a sixth of its speed, a large one nothing.)
    Elsewhere `batch` frames go together, of whichever portraits are being animated, and the next
    batch is computed while the frames of one are being used. A batch that is not full is filled
    up, so that all have one shape, take the same kernels, and a frame's bytes do not depend on its
    neighbours.
    """

    def __init__(
        self,
        network: Export3D,
        *,
        device: torch.device | str = "cpu",
        batch: int = 8,
        speed: Speed | None = None,
    ) -> None:
        if batch < 1:
            raise ValueError(f"batch is {batch!r}; allowed is at least 1")
        self._speed = speed or Speed()
        self._network = network.eval().to(device)
        layout = torch.channels_last if self._speed.channels_last else torch.contiguous_format
        self._network.to(memory_format=layout)  # type: ignore[call-overload]
        self._device = torch.device(device)
        on_cpu = self._device.type == "cpu"
        self._batch = 1 if on_cpu else batch
        self._mixer = FrameMixer(self._render, self._batch, batches_ahead=0 if on_cpu else 1)
        self._seen: Callable[[SourceTokens, Tensor, Tensor], Tensor] = self._image
        if self._speed.compiled:
            mode = "default" if on_cpu else "reduce-overhead"
            self._seen = torch.compile(self._image, mode=mode)

    @property
    def image_px(self) -> int:
        """Side of the frames that the network renders."""
        return self._network.config.image_px

    def portrait(self, image: NDArray[np.uint8] | Tensor) -> "AnimatedPortrait":
        """Return a portrait that can be animated: a square face crop of any size.

        Either uint8 red, green, blue [H, W, 3], or a float tensor [3, H, W] in [-1, 1]. Raises
        ValueError for anything else.
        """
        image_BCHW = _as_signed(image).to(self._device)
        if image_BCHW.shape[-1] != self.image_px:
            size_hw = (self.image_px, self.image_px)
            image_BCHW = functional.interpolate(
                image_BCHW, size_hw, mode="bilinear", antialias=True, align_corners=False
            )
        with torch.inference_mode(), self._arithmetic():
            tokens = self._network.encode_source(image_BCHW)
        return AnimatedPortrait(tokens, self._network.config.expression_dims, self._mixer)

    @torch.inference_mode()
    def _render(self, rows: Sequence["_Row"]) -> "_Levels":
        rows = [*rows, *[rows[-1]] * (self._batch - len(rows))]
        source = join_tokens([row.source for row in rows])
        exp_BE = torch.stack([row.exp_E for row in rows]).to(self._device)
        camera_B25 = torch.stack([row.camera_25 for row in rows]).to(self._device)
        with self._arithmetic():
            image_BCHW = self._seen(source, exp_BE, camera_B25)
        levels_BCHW = ((image_BCHW.float().clamp(-1, 1) + 1) * 127.5).round()
        return _Levels(levels_BCHW.to(torch.uint8).permute(0, 2, 3, 1))

    def _image(self, source: SourceTokens, exp_BE: Tensor, camera_B25: Tensor) -> Tensor:
        planes_BPCHW = self._network.planes(source, exp_BE)
        return self._network.render(planes_BPCHW, camera_B25).image_BCHW

    def _arithmetic(self) -> torch.autocast:
        return arithmetic(self._device, self._speed.precision)


@dataclass(frozen=True, eq=False)
class AnimatedPortrait:
    """A source as the network sees it, computed once, and the animator's batches."""

    _source: SourceTokens
    _expressions: int
    _mixer: "FrameMixer[_Row, NDArray[np.uint8]]"

    def animate(self, exp_TE: Numbers, camera_T25: Numbers) -> Iterator[NDArray[np.uint8]]:
        """Return an iterator over T frames, uint8 [H, W, 3], each rendered when it is taken.

        Raises ValueError for arrays of other shapes or with numbers that are not finite, before
        the first frame.
        """
        exps = _rows(exp_TE, self._expressions, "expressions")
        cameras = _rows(camera_T25, 25, "camera labels")
        if len(exps) != len(cameras):
            raise ValueError(f"{len(exps)} expressions but {len(cameras)} camera labels")
        rows = [_Row(self._source, *one) for one in zip(exps, cameras, strict=True)]
        return self._mixer.stream(rows)


@dataclass(frozen=True, eq=False)
class _Row:
    """What one frame is rendered from."""

    source: SourceTokens
    exp_E: Tensor
    camera_25: Tensor


class _Levels:
    """A batch on its way from the device to the processor's memory."""

    def __init__(self, levels_BHWC: Tensor) -> None:
        self._levels_BHWC = levels_BHWC.contiguous().to("cpu", non_blocking=True)
        self._copied: torch.cuda.Event | None = None
        if levels_BHWC.is_cuda:
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record()

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Wait for the copy, and return a frame."""
        if self._copied is not None:
            self._copied.synchronize()
        frame_HWC: NDArray[np.uint8] = self._levels_BHWC[index].numpy()
        return frame_HWC


def _as_signed(image: NDArray[np.uint8] | Tensor) -> Tensor:
    """Return the image as image_BCHW with B = 1 in [-1, 1]."""
    if isinstance(image, Tensor):
        if not image.is_floating_point() or image.ndim != 3 or image.shape[0] != 3:
            raise ValueError(f"a source tensor is float [3, H, W], not {_kind(image)}")
        image_BCHW = image.float().unsqueeze(0)
    else:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"a source array is uint8 [H, W, 3], not {_kind(image)}")
        pixels = torch.from_numpy(np.ascontiguousarray(image))
        image_BCHW = pixels.permute(2, 0, 1).unsqueeze(0).float() / 127.5 - 1
    if image_BCHW.shape[-1] != image_BCHW.shape[-2]:
        raise ValueError(f"a source image is square, not {_kind(image)}")
    return image_BCHW


def _rows(values: Numbers, width: int, what: str) -> Tensor:
    rows = torch.as_tensor(values, dtype=torch.float32)
    if rows.ndim != 2 or rows.shape[1] != width:
        raise ValueError(f"{what} are [T, {width}], not {_kind(values)}")
    if not rows.isfinite().all():
        raise ValueError(f"{what} contain numbers that are not finite")
    return rows


def _kind(values: NDArray[np.generic] | Tensor) -> str:
    return f"{values.dtype} {list(values.shape)}"
