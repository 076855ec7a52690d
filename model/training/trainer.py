"""Training of Export3D: reconstruction, then reconstruction with a discriminator (Spec 2.6, 2.7).

Shape suffixes: B batch, C channels, H height, W width.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.evaluation.metrics import psnr
from model.export3d.config import Export3DConfig
from model.export3d.network import Export3D, Rendered
from model.precision import Precision, arithmetic
from model.training.config import TrainingConfig
from model.training.critic import Critic, new_critic
from model.training.data import (
    Clip,
    FrameBank,
    PairBatch,
    PairSampler,
    resize_antialiased,
    to_bytes,
)
from model.training.expression_loss import ExpressionLoss
from model.training.gradients import check_gradients
from model.training.loop import Run, Schedule, Watch, learning_rate
from model.training.losses import (
    adversarial_loss_of_discriminator,
    adversarial_loss_of_generator,
    r1_penalty,
    reconstruction_loss,
)
from model.training.perceptual import Perceptual
from model.training.prefetch import Prefetch
from model.training.samples import sample_grid
from model.training.state import (
    JSON,
    StateMismatchError,
    TrainedState,
    copy_to_cpu,
    optimizer_tensors,
    plain,
    restore_module,
    restore_optimizer,
    seeded,
)
from model.training.team import Team, check_share

RECONSTRUCTION = "reconstruction"
ADVERSARIAL = "adversarial"


def train_export3d(
    network_config: Export3DConfig,
    config: TrainingConfig,
    clips: Sequence[Clip],
    *,
    clebs: Mapping[str, Tensor] | None = None,
    weights: Mapping[str, Tensor] | None = None,
    perceptual: Perceptual | None = None,
    expression: ExpressionLoss | None = None,
    shown: Sequence[Clip] | None = None,
    state: TrainedState | None = None,
    watch: Watch | None = None,
    device: torch.device | str = "cpu",
) -> TrainedState:
    """Train Export3D; go on from `state`, on one kind of machine bit for bit, where one is given.

    `clebs` is the group "lebs" of `pretrain_clebs`; a network whose expression encoder is
    pre-trained needs it unless `state` holds it already, or `weights` does: the group "weights" of
    another training of this network, to begin with. Without `perceptual` L_rec has its two
    squared terms only, without `expression` its weight has no effect. The pairs of the sample
    pictures come from `shown`, which may be frames held out; without it they are frames that are
    trained on. The group "weights" of the result is the network's.

    Where torch's default process group is set up, its processes train together and all return the
    state; only the first one's `watch` is told anything. Raises TrainingDataError,
    UnevenShareError, StateMismatchError, DivergedError.
    """
    team = Team.joined()
    check_share(config.batch, team.size)
    trainee = _Export3DTraining(
        network_config,
        config,
        clips,
        shown or clips,
        perceptual,
        expression,
        torch.device(device),
        team,
    )
    schedule = Schedule(
        {RECONSTRUCTION: config.reconstruction_steps, ADVERSARIAL: config.adversarial_steps},
        config.max_seconds,
    )
    position = schedule.start()
    if state is not None:
        trainee.restore(state)
        position = schedule.position(state.card)
    elif weights is not None:
        restore_module(trainee.network, weights, "network to begin with")
    elif network_config.expression == "clebs":
        if clebs is None:
            raise StateMismatchError("this network needs a pre-trained expression encoder (clebs)")
        encoder = trainee.network.condition.encoder
        restore_module(encoder, clebs, "pre-trained expression encoder")
    with closing(trainee):
        run = Run(trainee, schedule, config.cadence, watch or Watch(), position, team=team)
        return run.finish()


class _Export3DTraining:
    def __init__(
        self,
        network_config: Export3DConfig,
        config: TrainingConfig,
        clips: Sequence[Clip],
        shown: Sequence[Clip],
        perceptual: Perceptual | None,
        expression: ExpressionLoss | None,
        device: torch.device,
        team: Team = Team(),  # noqa: B008  a frozen value
    ) -> None:
        self._config, self._device, self._team = config, device, team
        self._perceptual, self._expression = perceptual, expression
        side = network_config.image_px
        bank = FrameBank(clips, side, round(config.cache_gib * 2**30))
        pairs = PairSampler(clips, bank, config.batch, config.seed, team)
        samples = PairSampler(shown, FrameBank(shown, side, 0), config.sample_rows, config.seed + 1)
        self._shown = samples.batch(0)
        self._batches = Prefetch(pairs.batch, device)
        with seeded([config.seed, 0], device):
            self.network = Export3D(network_config).to(device).train()
        self.network.to(memory_format=self._layout)  # type: ignore[call-overload]
        self._optimizer = torch.optim.Adam(
            (p for p in self.network.parameters() if p.requires_grad), lr=config.learning_rate
        )
        self._critic: Critic | None = None
        if config.adversarial_steps:
            rate, kind = config.discriminator_rate, config.discriminator
            with seeded([config.seed, 1], device):
                self._critic = new_critic(side, kind, rate, team, device)
            self._critic.network.to(memory_format=self._layout)  # type: ignore[call-overload]

    @property
    def _layout(self) -> torch.memory_format:
        return torch.channels_last if self._config.channels_last else torch.contiguous_format

    def close(self) -> None:
        """End the threads that read."""
        self._batches.close()

    def step(self, step: int, phase: str, fraction: float) -> Mapping[str, Tensor]:
        """Do one step of the generator and, in the adversarial phase, one of the discriminator."""
        config = self._config
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(
                config.learning_rate, config.final_rate, config.warmup_steps, step, fraction
            )
        batch = self._batches.take(step).to(self._device)
        critic = self._critic if phase == ADVERSARIAL else None
        with seeded([config.seed, 2, step], self._device), self._team.drawing():
            seen, losses = self._generator_step(step, batch, critic)
            if critic is not None:
                losses |= self._critic_step(step, batch, seen, critic)
        return losses

    def _generator_step(
        self, step: int, batch: PairBatch, critic: Critic | None
    ) -> tuple[Rendered, dict[str, Tensor]]:
        with self._arithmetic():
            seen = self.network(batch.source_BCHW, batch.expression_BE, batch.camera_B25)
            loss = reconstruction_loss(
                seen.image_BCHW,
                seen.raw_BCHW,
                batch.driving_BCHW,
                self._perceptual,
                self._config.weights,
                self._expression,
            )
        total, losses = loss.total, dict(loss.terms)
        if critic is not None:
            critic.network.requires_grad_(False)
            with self._arithmetic():
                fake_B1 = critic.network(seen.image_BCHW, seen.raw_BCHW, batch.camera_B25)
            adversarial = adversarial_loss_of_generator(fake_B1)
            total = total + self._config.adversarial_weight * adversarial
            losses["adversarial"] = adversarial.detach()
        if self._config.weights.expression_of_others and self._expression is not None:
            # Sources change places: for these pairs there is no picture to compare with.
            with self._arithmetic():
                others = self.network(
                    batch.source_BCHW.roll(1, dims=0), batch.expression_BE, batch.camera_B25
                )
            read = self._expression(others.image_BCHW, batch.driving_BCHW, same_person=False)
            total = total + self._config.weights.expression_of_others * read
            losses["expression_of_others"] = read.detach()
        losses["total"] = total.detach()
        self._optimize(step, total, "generator", self.network, self._optimizer)
        if seen.generated_BPCHW is not None:
            self.network.update_plane_mean(seen.generated_BPCHW)
        return seen, losses

    def _critic_step(
        self, step: int, batch: PairBatch, seen: Rendered, critic: Critic
    ) -> dict[str, Tensor]:
        config = self._config
        critic.network.requires_grad_(True)
        penalise = config.r1_gamma > 0 and step % config.r1_every == 0
        real_BCHW = batch.driving_BCHW.requires_grad_(penalise)
        raw_BCHW = resize_antialiased(real_BCHW, seen.raw_BCHW.shape[-1])
        # The penalty differentiates a gradient, for which bfloat16 is too coarse.
        with self._arithmetic("float32" if penalise else config.precision):
            real_B1 = critic.network(real_BCHW, raw_BCHW, batch.camera_B25)
        with self._arithmetic():
            fake_B1 = critic.network(
                seen.image_BCHW.detach(), seen.raw_BCHW.detach(), batch.camera_B25
            )
        total = adversarial_loss_of_discriminator(real_B1, fake_B1)
        losses = {
            "discriminator": total.detach(),
            "score_real": real_B1.detach().mean(),
            "score_fake": fake_B1.detach().mean(),
        }
        if penalise:
            penalty = r1_penalty(real_B1, real_BCHW)
            total = total + config.r1_gamma * config.r1_every * penalty
            losses["r1"] = penalty.detach()
        self._optimize(step, total, "discriminator", critic.network, critic.optimizer)
        return losses

    def _optimize(
        self, step: int, loss: Tensor, what: str, module: nn.Module, optimizer: torch.optim.Adam
    ) -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._team.average_gradients(module)
        if self._config.check_gradients:
            check_gradients(module, what, step)
        if self._config.gradient_clip is not None and module is self.network:
            nn.utils.clip_grad_norm_(module.parameters(), self._config.gradient_clip)
        optimizer.step()

    def _arithmetic(self, precision: Precision | None = None) -> torch.autocast:
        return arithmetic(self._device, precision or self._config.precision)

    @torch.no_grad()
    def sample(self) -> tuple[NDArray[np.uint8], Mapping[str, float]]:
        """Show the fixed pairs, with their PSNR beside that of copying the source."""
        batch = self._shown.to(self._device)
        self.network.eval()
        seen = self.network(batch.source_BCHW, batch.expression_BE, batch.camera_B25)
        self.network.train()
        grid = sample_grid(
            batch.source_BCHW, batch.driving_BCHW, seen.image_BCHW, seen.raw_BCHW, seen.depth_B1HW
        )
        wanted = to_bytes(batch.driving_BCHW)
        measures = {"sample_psnr": seen.image_BCHW, "sample_psnr_copy": batch.source_BCHW}
        return grid, {
            name: float(np.mean([psnr(*two) for two in zip(to_bytes(got), wanted, strict=True)]))
            for name, got in measures.items()
        }

    def state(self, card: Mapping[str, JSON]) -> TrainedState:
        tensors = {
            "weights": copy_to_cpu(self.network.state_dict()),
            "optimizer": optimizer_tensors(self._optimizer, self.network),
        }
        if self._critic is not None:
            tensors |= self._critic.tensors()
        return TrainedState(
            tensors=tensors,
            card={
                "kind": "export3d",
                "network": plain(self.network.config),
                "training": plain(self._config),
                "perceptual": None if self._perceptual is None else self._perceptual.name,
                **card,
            },
        )

    def restore(self, state: TrainedState) -> None:
        """Take over a state; one from before there was a discriminator starts a fresh one."""
        restore_module(self.network, state.tensors["weights"], "network")
        restore_optimizer(self._optimizer, self.network, state.tensors["optimizer"])
        if self._critic is not None:
            self._critic.restore(state.tensors)
