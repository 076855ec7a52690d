"""Batches for CLeBS: a few clips, from each a group of frames that lie apart (Spec 2.3.3).

Shape suffixes: V clips, F frames of one clip, C channels, H height, W width, E expression,
G = V x F images, K frames that can be drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model.training.data import Clip, FrameBank, TrainingDataError, to_signed


@dataclass(frozen=True)
class ClebsBatch:
    """Images of V clips x F frames with their expressions; clips never mix in one denominator."""

    images_VFCHW: Tensor
    expression_VFE: Tensor

    def to(self, device: torch.device) -> "ClebsBatch":
        """Return the batch on `device`, which may still be copying it."""
        return ClebsBatch(
            self.images_VFCHW.to(device, non_blocking=True),
            self.expression_VFE.to(device, non_blocking=True),
        )

    def pinned(self) -> Self:
        """Return the batch in memory from which a GPU copies by itself."""
        return type(self)(self.images_VFCHW.pin_memory(), self.expression_VFE.pin_memory())


class SpacedFrames:
    """Uniform draw of `count` frames out of `usable` ones that lie at least `gap` frames apart.

    Counts, in logarithms, how many spaced sets can follow every frame, and draws along those
    counts; so a long clip is covered evenly and a tight one still gives a valid set at once.
    """

    def __init__(self, usable_K: NDArray[np.int64], count: int, gap: int) -> None:
        self._frames_K = usable_K
        self._count = count
        self._next_K = np.searchsorted(usable_K, usable_K + gap)
        # ways[n][k]: log number of sets of n frames that begin at frame k of the usable ones.
        self._ways = [np.zeros(len(usable_K))]
        for _ in range(count - 1):
            onward = np.logaddexp.accumulate(self._ways[-1][::-1])[::-1]
            self._ways.append(np.append(onward, -np.inf)[self._next_K])

    @staticmethod
    def most(usable_K: NDArray[np.int64], gap: int) -> int:
        """Return how many frames with that gap the clip can supply at most."""
        taken, last = 0, -gap
        for frame in usable_K:
            if frame - last >= gap:
                taken, last = taken + 1, int(frame)
        return taken

    def draw(self, rng: np.random.Generator) -> list[int]:
        """Return `count` frame numbers, ascending."""
        start, drawn = 0, []
        for ways_K in reversed(self._ways):
            log_weight = ways_K[start:]
            weight = np.exp(log_weight - log_weight.max())
            k = start + int(rng.choice(len(weight), p=weight / weight.sum()))
            drawn.append(int(self._frames_K[k]))
            start = int(self._next_K[k])
        return drawn


class ClebsSampler:
    """Draws V clips and from each `frames_per_clip` frames, a pure function of (seed, step).

    Clips that cannot supply so many spaced frames are left out; with `allow_fewer` the group
    shrinks for all clips to what the poorest clip that can give `fewest` frames supplies.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        bank: FrameBank,
        *,
        clips_per_batch: int,
        frames_per_clip: int,
        min_gap_frames: int,
        allow_fewer: bool,
        seed: int,
        fewest: int = 3,
    ) -> None:
        usable = [np.flatnonzero(clip.usable_T) for clip in clips]
        supply = [SpacedFrames.most(frames, min_gap_frames) for frames in usable]
        needed = fewest if allow_fewer else frames_per_clip
        able = [index for index, most in enumerate(supply) if most >= needed]
        if not able:
            raise TrainingDataError(
                f"no clip has {needed} usable frames {min_gap_frames} frames apart"
                f" (the best has {max(supply, default=0)}): lower the number or the gap"
            )
        self.frames_per_clip = min(frames_per_clip, *(supply[index] for index in able))
        self.clips_used = len(able)
        self._clips = clips
        self._bank = bank
        self._clips_per_batch = clips_per_batch
        self._seed = seed
        self._spaced = {
            index: SpacedFrames(usable[index], self.frames_per_clip, min_gap_frames)
            for index in able
        }

    def groups(self, step: int) -> list[tuple[int, list[int]]]:
        """Return (clip index, frames) for every clip of the step; clips repeat when few exist."""
        rng = np.random.default_rng([self._seed, step])
        able = list(self._spaced)
        repeat = len(able) < self._clips_per_batch
        chosen = rng.choice(able, size=self._clips_per_batch, replace=repeat)
        return [(int(clip), self._spaced[int(clip)].draw(rng)) for clip in chosen]

    def batch(self, step: int) -> ClebsBatch:
        """Return the batch of a step, images without jitter."""
        groups = self.groups(step)
        images = [to_signed(self._bank.images(clip, frames)) for clip, frames in groups]
        expression = [self._clips[clip].expression_TE[frames] for clip, frames in groups]
        return ClebsBatch(torch.stack(images), torch.from_numpy(np.stack(expression)))


def jitter(images_GCHW: Tensor, strength: float, seed: tuple[int, int]) -> Tensor:
    """Change colour, sharpness and place of every image a little; strength 0 returns it as it is.

    Pose leaks into 3DMM expressions, and the image encoder could match on crop or tone instead
    of expression; jitter on the images alone makes that harder (Spec 2.3.3). At strength 1:
    brightness and contrast +-10 %, saturation +-20 %, shift +-2 % of the side, and blur of up
    to a [1, 2, 1] filter. `seed` is (seed, step).
    """
    if strength <= 0:
        return images_GCHW
    rng = np.random.default_rng([*seed, 1])
    n, side = len(images_GCHW), images_GCHW.shape[-1]

    def draw(*shape: int) -> Tensor:
        values = rng.uniform(-strength, strength, size=(n, *shape)).astype(np.float32)
        return torch.from_numpy(values).to(images_GCHW.device)

    grey = images_GCHW.mean(dim=1, keepdim=True)
    out = grey + (images_GCHW - grey) * (1 + 0.2 * draw(1, 1, 1))
    out = out * (1 + 0.1 * draw(1, 1, 1)) + 0.1 * draw(1, 1, 1)
    soft = functional.avg_pool2d(functional.pad(out, (1, 0, 1, 0), mode="replicate"), 2, stride=1)
    soft = functional.avg_pool2d(functional.pad(soft, (0, 1, 0, 1), mode="replicate"), 2, stride=1)
    out = torch.lerp(out, soft, draw(1, 1, 1).abs().clamp(max=1))
    move = torch.eye(2, 3, device=out.device).repeat(n, 1, 1)
    move[:, :, 2] = 2 * 0.02 * draw(2)
    grid = functional.affine_grid(move, [n, 3, side, side], align_corners=False)
    return functional.grid_sample(out, grid, padding_mode="border", align_corners=False)
