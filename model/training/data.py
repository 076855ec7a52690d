"""Training data in memory: clips, pairs of frames for the generator, groups of frames for CLeBS.

Every draw is a pure function of (seed, step): a run that resumes at step k sees what the
uninterrupted run would have seen, and nothing about the sampler has to be saved.

Shape suffixes: B batch, T frames of a clip, V clips, F frames drawn from a clip, C channels,
H height, W width, E expression coefficients, 25 camera label (16 + 9, row-major).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model.training.team import Team

Bytes = NDArray[np.uint8]


class TrainingDataError(ValueError):
    """The clips given cannot feed the training asked for; one sentence says why."""


class FrameReader(Protocol):
    """Random access to the frames of one clip."""

    def __len__(self) -> int:
        """Return the number of frames."""
        ...

    def batch(self, indices: Sequence[int]) -> Bytes:
        """Return the frames at `indices` as uint8 [N, H, W, 3], RGB."""
        ...


@dataclass(frozen=True)
class ArrayFrames:
    """Frames that already lie in memory, uint8 [T, H, W, 3]."""

    frames_THWC: Bytes

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.frames_THWC)

    def batch(self, indices: Sequence[int]) -> Bytes:
        """Return the frames at `indices`."""
        return self.frames_THWC[np.asarray(indices, dtype=np.int64)]


@dataclass(frozen=True)
class Clip:
    """One clip of one person: square face crops with a label for every frame.

    expression_TE holds the 3DMM expression, camera_T25 the camera label (Spec 2.2.3, 2.2.4),
    usable_T is False where a frame has no trustworthy label; such frames are never drawn.
    """

    clip_id: str
    person: str
    frames: FrameReader
    expression_TE: NDArray[np.float32]
    camera_T25: NDArray[np.float32]
    usable_T: NDArray[np.bool_]

    def __post_init__(self) -> None:
        n_frames = len(self.frames)
        lengths = {len(self.expression_TE), len(self.camera_T25), len(self.usable_T)}
        if lengths != {n_frames}:
            raise TrainingDataError(
                f"clip {self.clip_id} has {n_frames} frames but labels for {sorted(lengths)}"
            )

    @property
    def n_frames(self) -> int:
        """Number of frames, usable or not."""
        return len(self.frames)


def resize_antialiased(images_BCHW: Tensor, size_px: int) -> Tensor:
    """Resize square float images with a low-pass filter (raw target of Spec 2.6)."""
    if images_BCHW.shape[-1] == size_px:
        return images_BCHW
    return functional.interpolate(
        images_BCHW, size=(size_px, size_px), mode="bilinear", antialias=True, align_corners=False
    )


def to_signed(images_BHWC: Bytes) -> Tensor:
    """Turn uint8 [B, H, W, 3] into float [B, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(images_BHWC).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_bytes(images_BCHW: Tensor) -> Bytes:
    """Turn float [B, 3, H, W] into uint8 [B, H, W, 3]; values beyond [-1, 1] are clamped."""
    levels = (images_BCHW.detach().float().clamp(-1, 1) + 1) * 127.5
    return levels.round().byte().permute(0, 2, 3, 1).cpu().numpy()


class FrameBank:
    """Frames of many clips at the network's size, each decoded and resized once while they fit.

    Beyond `cache_bytes` further frames are read and resized at every use. Several threads may ask:
    a clip is read by one of them at a time.
    """

    def __init__(self, clips: Sequence[Clip], image_px: int, cache_bytes: int) -> None:
        self._clips = clips
        self._image_px = image_px
        self._room_bytes = cache_bytes
        self._locks = [Lock() for _ in clips]
        self._room_lock = Lock()
        self._kept: dict[tuple[int, int], Bytes] = {}

    def images(self, clip: int, frames: Sequence[int]) -> Bytes:
        """Return `frames` of the clip at index `clip` as uint8 [N, image_px, image_px, 3]."""
        with self._locks[clip]:
            missing = sorted({frame for frame in frames if (clip, frame) not in self._kept})
            fresh = dict(zip(missing, self._read(clip, missing), strict=True)) if missing else {}
            for frame, image in fresh.items():
                if self._takes(image.nbytes):
                    self._kept[clip, frame] = image
            return np.stack([fresh[f] if f in fresh else self._kept[clip, f] for f in frames])

    def _takes(self, n_bytes: int) -> bool:
        with self._room_lock:
            if n_bytes > self._room_bytes:
                return False
            self._room_bytes -= n_bytes
            return True

    def _read(self, clip: int, frames: Sequence[int]) -> list[Bytes]:
        images_NHWC = self._clips[clip].frames.batch(frames)
        if images_NHWC.shape[1] != images_NHWC.shape[2]:
            raise TrainingDataError(f"clip {self._clips[clip].clip_id} is not square")
        if images_NHWC.shape[1] == self._image_px:
            return [image.copy() for image in images_NHWC]
        small = resize_antialiased(to_signed(images_NHWC), self._image_px)
        return [image.copy() for image in to_bytes(small)]


@dataclass(frozen=True)
class PairBatch:
    """Source and driving frame of one clip each, with the label of the driving frame."""

    source_BCHW: Tensor
    driving_BCHW: Tensor
    expression_BE: Tensor
    camera_B25: Tensor

    def to(self, device: torch.device) -> "PairBatch":
        """Return the batch on `device`, which may still be copying it."""
        return PairBatch(
            self.source_BCHW.to(device, non_blocking=True),
            self.driving_BCHW.to(device, non_blocking=True),
            self.expression_BE.to(device, non_blocking=True),
            self.camera_B25.to(device, non_blocking=True),
        )

    def pinned(self) -> Self:
        """Return the batch in memory from which a GPU copies by itself."""
        return type(self)(
            self.source_BCHW.pin_memory(),
            self.driving_BCHW.pin_memory(),
            self.expression_BE.pin_memory(),
            self.camera_B25.pin_memory(),
        )


class PairSampler:
    """Draws (source, driving) pairs: two distinct usable frames of one clip (Spec 2.6).

    Clips are drawn alike, however long they are; those with fewer than two usable frames not.
    `batch` counts the pairs of all processes of the team; each reads its share alone.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        bank: FrameBank,
        batch: int,
        seed: int,
        team: Team = Team(),  # noqa: B008  a frozen value
    ) -> None:
        self._clips = clips
        self._bank = bank
        self._batch = batch
        self._seed = seed
        self._team = team
        self._usable = {
            index: frames
            for index, clip in enumerate(clips)
            if len(frames := np.flatnonzero(clip.usable_T)) >= 2
        }
        if not self._usable:
            raise TrainingDataError("no clip has two usable frames, so no pair can be drawn")

    def pairs(self, step: int) -> list[tuple[int, int, int]]:
        """Return (clip index, source frame, driving frame) for every pair of the whole step."""
        rng = np.random.default_rng([self._seed, step])
        chosen = rng.choice(list(self._usable), size=self._batch)
        drawn = [rng.choice(self._usable[clip], size=2, replace=False) for clip in chosen]
        return [(int(c), int(s), int(d)) for c, (s, d) in zip(chosen, drawn, strict=True)]

    def batch(self, step: int) -> PairBatch:
        """Return this process's share of the batch of a step."""
        pairs = self._team.share(self.pairs(step))
        images = np.stack([self._bank.images(c, [s, d]) for c, s, d in pairs])
        labels = [(self._clips[c], d) for c, _, d in pairs]
        return PairBatch(
            source_BCHW=to_signed(images[:, 0]),
            driving_BCHW=to_signed(images[:, 1]),
            expression_BE=torch.from_numpy(np.stack([c.expression_TE[d] for c, d in labels])),
            camera_B25=torch.from_numpy(np.stack([c.camera_T25[d] for c, d in labels])),
        )
