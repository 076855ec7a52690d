"""Contrastive pre-training of the expression encoder (Export3D 3.1; Spec 2.3).

One process does it, also where several train the generator: the image encoder normalises over all
images of a step, which torch can do across processes on GPUs only.

Shape suffixes: V clips, F frames of one clip, C channels, H height, W width, E expression,
N all usable frames, D length of an embedding.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from model.export3d.clebs import ImageEncoder, LeBS, clebs_loss, cosine_matrix
from model.export3d.config import Export3DConfig
from model.precision import Precision, arithmetic
from model.training.clebs_data import ClebsSampler, jitter
from model.training.data import Clip, FrameBank
from model.training.loop import Cadence, Run, Schedule, Watch, learning_rate
from model.training.prefetch import Prefetch
from model.training.state import (
    JSON,
    TrainedState,
    copy_to_cpu,
    optimizer_tensors,
    plain,
    restore_module,
    restore_optimizer,
    seeded,
)

PHASE = "clebs"


@dataclass(frozen=True)
class ClebsTrainingConfig:
    """How CLeBS is pre-trained; what one step contrasts is in the network's `CLeBSConfig`."""

    seed: int = 0
    steps: int = 60_000
    """Optimiser steps (the paper's number; more do not help, it says)."""
    max_seconds: float | None = None
    """Limit on time beside the one on steps; results under it cannot be reproduced."""
    learning_rate: float = 1e-4
    """Adam's rate at the start (the paper's)."""
    final_rate: float = 1.0
    """Share of the rate left at the end of a cosine; 1 keeps it constant, as the paper does."""
    jitter: float = 1.0
    """Strength of the change of colour, sharpness and place of images; 0 is none."""
    allow_fewer: bool = False
    """Whether groups may shrink to what the clips can supply, for small demonstrations."""
    precision: Precision = "float32"
    """Arithmetic of the image encoder; expression, basis and cosines are in float32 either way."""
    cadence: Cadence = field(default_factory=Cadence)
    cache_gib: float = 2.0
    """Memory for decoded and resized frames."""


def pretrain_clebs(
    network_config: Export3DConfig,
    config: ClebsTrainingConfig,
    clips: Sequence[Clip],
    *,
    state: TrainedState | None = None,
    watch: Watch | None = None,
    device: torch.device | str = "cpu",
) -> TrainedState:
    """Train LeBS against an image encoder; go on from `state` where one is given.

    The group "lebs" of the result is what `train_export3d` takes: the encoder with its basis
    stored and the statistics of lambda over all usable frames. The image encoder stays in the
    group "pretraining", for resuming only. Raises TrainingDataError, StateMismatchError,
    DivergedError.
    """
    trainee = _ClebsTraining(network_config, config, clips, torch.device(device))
    schedule = Schedule({PHASE: config.steps}, config.max_seconds)
    position = schedule.start()
    if state is not None:
        trainee.restore(state)
        position = schedule.position(state.card)
    with closing(trainee):
        return Run(trainee, schedule, config.cadence, watch or Watch(), position).finish()


class _ClebsTraining:
    def __init__(
        self,
        network_config: Export3DConfig,
        config: ClebsTrainingConfig,
        clips: Sequence[Clip],
        device: torch.device,
    ) -> None:
        contrast = network_config.clebs
        self._network_config, self._config, self._device = network_config, config, device
        self._sampler = sampler = ClebsSampler(
            clips,
            FrameBank(clips, contrast.image_px, round(config.cache_gib * 2**30)),
            clips_per_batch=contrast.clips,
            frames_per_clip=contrast.frames,
            min_gap_frames=contrast.min_gap_frames,
            allow_fewer=config.allow_fewer,
            seed=config.seed,
        )
        self._batches = Prefetch(sampler.batch, device)
        with seeded([config.seed, 0], device):
            self._lebs = LeBS(network_config).to(device)
            self._images = ImageEncoder(network_config).to(device)
        self._both = nn.ModuleDict({"lebs": self._lebs, "images": self._images})
        self._optimizer = torch.optim.Adam(self._both.parameters(), lr=config.learning_rate)
        self._expression_NE = torch.from_numpy(
            np.concatenate([clip.expression_TE[clip.usable_T] for clip in clips])
        )

    def step(self, step: int, phase: str, fraction: float) -> Mapping[str, Tensor]:
        """Do one step; also measures how often an expression finds its image first."""
        del phase
        config = self._config
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(config.learning_rate, config.final_rate, 0, step, fraction)
        batch = self._batches.take(step).to(self._device)
        images_VFCHW = batch.images_VFCHW
        mixed_GCHW = jitter(images_VFCHW.flatten(0, 1), config.jitter, (config.seed, step))
        with arithmetic(self._device, config.precision):
            image_GD = self._images(mixed_GCHW)
        image_VFD = image_GD.unflatten(0, images_VFCHW.shape[:2])
        encoded_GD = self._lebs(batch.expression_VFE.flatten(0, 1))
        encoded_VFD = encoded_GD.unflatten(0, images_VFCHW.shape[:2])
        cosine_VFF = cosine_matrix(encoded_VFD, image_VFD)
        contrast = self._network_config.clebs
        loss = clebs_loss(cosine_VFF, contrast.tau, contrast.denominator)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._optimizer.step()
        own = torch.arange(cosine_VFF.shape[-1], device=self._device)
        found = (cosine_VFF.argmax(dim=-1) == own).float().mean()
        return {"loss": loss.detach(), "top1": found}

    def close(self) -> None:
        """End the threads that read."""
        self._batches.close()

    def sample(self) -> None:
        """There is no picture to show."""

    def state(self, card: Mapping[str, JSON]) -> TrainedState:
        frozen = LeBS(self._network_config)
        frozen.load_state_dict(copy_to_cpu(self._lebs.state_dict()))
        frozen.measure(self._expression_NE)
        return TrainedState(
            tensors={
                "lebs": copy_to_cpu(frozen.freeze().state_dict()),
                "pretraining": copy_to_cpu(self._both.state_dict()),
                "optimizer": optimizer_tensors(self._optimizer, self._both),
            },
            card={
                "kind": "clebs",
                "network": plain(self._network_config),
                "training": plain(self._config),
                "frames_per_clip": self._sampler.frames_per_clip,
                "clips_used": self._sampler.clips_used,
                **card,
            },
        )

    def restore(self, state: TrainedState) -> None:
        restore_module(self._both, state.tensors["pretraining"], "CLeBS pre-training")
        restore_optimizer(self._optimizer, self._both, state.tensors["optimizer"])
