"""A trained network animates one portrait, frame by frame.

Shape suffixes: T frames, B frames of one batch, H, W, C channels, E expression coefficients,
25 camera label.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model.export3d.generator import SourceTokens
from model.export3d.network import Export3D

Numbers = NDArray[np.floating] | Tensor


class Animator:
    """Renders a portrait with given expressions from given cameras.

    Takes the network over: moves it to `device` and puts it in eval mode. What does not depend on
    the expression is computed once per source (Spec 2.10.3).

    On a CPU every frame is computed alone, so that its bytes depend on nothing but its own inputs:
    not on `batch`, nor on how a shot was cut into pieces. (Matrix products of one to some ten rows
    take other kernels than longer ones and round differently; about one byte in 100,000 would
    change by one level. It costs a small network a sixth of its speed, a large one nothing.)
    Elsewhere `batch` frames go together, and the same inputs in the same batches give the same
    bytes.
    """

    def __init__(
        self, network: Export3D, *, device: torch.device | str = "cpu", batch: int = 8
    ) -> None:
        if batch < 1:
            raise ValueError(f"batch is {batch!r}; allowed is at least 1")
        self._network = network.eval().to(device)
        self._device = torch.device(device)
        self._batch = 1 if self._device.type == "cpu" else batch
        self._source: SourceTokens | None = None

    @property
    def image_px(self) -> int:
        """Side of the frames that the network renders."""
        return self._network.config.image_px

    def set_source(self, image: NDArray[np.uint8] | Tensor) -> None:
        """Make this the portrait to animate: a square face crop of any size.

        Either uint8 red, green, blue [H, W, 3], or a float tensor [3, H, W] in [-1, 1]. Raises
        ValueError for anything else.
        """
        image_BCHW = _as_signed(image).to(self._device)
        side = self._network.config.image_px
        if image_BCHW.shape[-1] != side:
            image_BCHW = functional.interpolate(
                image_BCHW, (side, side), mode="bilinear", antialias=True, align_corners=False
            )
        with torch.inference_mode():
            self._source = self._network.encode_source(image_BCHW)

    def animate(self, exp_TE: Numbers, camera_T25: Numbers) -> Iterator[NDArray[np.uint8]]:
        """Return an iterator over T frames, uint8 [H, W, 3], each rendered when it is taken.

        Raises RuntimeError without a source, ValueError for arrays of other shapes or with
        numbers that are not finite, all before the first frame.
        """
        if self._source is None:
            raise RuntimeError("an animator needs a source: call set_source first")
        exps = _rows(exp_TE, self._network.config.expression_dims, "expressions")
        cameras = _rows(camera_T25, 25, "camera labels")
        if len(exps) != len(cameras):
            raise ValueError(f"{len(exps)} expressions but {len(cameras)} camera labels")
        return self._frames(self._source, exps, cameras)

    def _frames(
        self, source: SourceTokens, exp_TE: Tensor, camera_T25: Tensor
    ) -> Iterator[NDArray[np.uint8]]:
        for start in range(0, len(exp_TE), self._batch):
            exp_BE = exp_TE[start : start + self._batch].to(self._device)
            camera_B25 = camera_T25[start : start + self._batch].to(self._device)
            yield from self._render(source, exp_BE, camera_B25)

    @torch.inference_mode()
    def _render(
        self, source: SourceTokens, exp_BE: Tensor, camera_B25: Tensor
    ) -> NDArray[np.uint8]:
        planes_BPCHW = self._network.planes(source.expand(len(exp_BE)), exp_BE)
        image_BCHW = self._network.render(planes_BPCHW, camera_B25).image_BCHW
        levels_BCHW = ((image_BCHW.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        frames_BHWC: NDArray[np.uint8] = levels_BCHW.permute(0, 2, 3, 1).cpu().numpy()
        return frames_BHWC


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
