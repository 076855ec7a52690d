"""A training of random pictures: what it computes, and for how long, does not depend on them."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import nn

from benchmarks.measure.scene import frontal_cameras
from model.export3d.config import Export3DConfig
from model.precision import Precision
from model.training.config import TrainingConfig
from model.training.data import ArrayFrames, Clip
from model.training.perceptual import HedVgg16
from model.training.trainer import (
    ADVERSARIAL,
    RECONSTRUCTION,
    _Export3DTraining,
)

_CLIPS, _FRAMES = 2, 4
_VGG_WIDTHS = (3, 64, 128, 256, 512, 512)


@dataclass(frozen=True)
class Plan:
    """What is trained, and how."""

    network: Export3DConfig
    training: TrainingConfig
    perceptual_blocks: int
    perceptual_px: int | None

    def computed(self, precision: str, *, channels_last: bool) -> "Plan":
        """Return the plan in other arithmetic and layout."""
        chosen: Precision = "bf16" if precision == "bf16" else "float32"
        training = replace(self.training, precision=chosen, channels_last=channels_last)
        return replace(self, training=training)


class Trainee:
    """The trainer's own training on the device, with everything that a step needs in memory."""

    def __init__(self, plan: Plan, device: torch.device) -> None:
        self.perceptual = None
        if plan.perceptual_blocks:
            self.perceptual = random_perceptual(plan.perceptual_blocks, plan.perceptual_px)
            self.perceptual.to(device)
        network, training = plan.network, plan.training
        clips = random_clips(network)
        self.training = _Export3DTraining(
            network, training, clips, clips, self.perceptual, expression=None, device=device
        )
        self._phase = ADVERSARIAL if training.adversarial_steps else RECONSTRUCTION
        self._steps = 0

    def compile(self, mode: str) -> None:
        """Have torch compile the networks when the next step is done."""
        for module in filter(None, (self.training.network, self.perceptual)):
            module.compile(mode=mode)

    def close(self) -> None:
        """End the threads that make batches."""
        self.training.close()

    @property
    def critic(self) -> nn.Module | None:
        """The discriminator, where the phase has one."""
        found = self.training._critic  # noqa: SLF001
        return None if found is None else found.network

    def step(self) -> None:
        """Do one optimiser step, without waiting for the device."""
        torch.compiler.cudagraph_mark_step_begin()  # nothing of the last step is needed any more
        self.training.step(self._steps, self._phase, 0.0)
        self._steps += 1


def random_clips(network: Export3DConfig) -> list[Clip]:
    """Return clips of noise at the network's size, seen from the front."""
    rng = np.random.default_rng(0)
    side = network.image_px
    cameras_T25 = frontal_cameras(_FRAMES)
    return [
        Clip(
            clip_id=str(number),
            person=str(number),
            frames=ArrayFrames(rng.integers(0, 256, (_FRAMES, side, side, 3), dtype=np.uint8)),
            expression_TE=rng.normal(size=(_FRAMES, network.expression_dims)).astype(np.float32),
            camera_T25=cameras_T25,
            usable_T=np.ones(_FRAMES, bool),
        )
        for number in range(_CLIPS)
    ]


def random_perceptual(blocks: int, largest_px: int | None) -> HedVgg16:
    """Return the perceptual network with random weights: as fast as the real one."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="e3d-benchmark-") as folder:
        path = Path(folder) / "vgg.h5"
        with h5py.File(path, "w") as file:
            for block in range(blocks):
                outputs = _VGG_WIDTHS[block + 1]
                for conv in range(HedVgg16.CONVS[block]):
                    inputs = outputs if conv else _VGG_WIDTHS[block]
                    group = f"block{block + 1}/layers/conv2d{f'_{conv}' if conv else ''}/vars"
                    kernel = rng.standard_normal((3, 3, inputs, outputs), np.float32)
                    file[f"{group}/0"] = kernel * (2 / (9 * inputs)) ** 0.5
                    file[f"{group}/1"] = np.zeros(outputs, np.float32)
        return HedVgg16(path, blocks, largest_px)
