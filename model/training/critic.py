"""The discriminator while it is trained, by one process or by several.

Shape suffixes: B batch, C channels, H height, W width.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model.training.discriminator import Discriminator, DiscriminatorConfig, minibatch_deviation
from model.training.state import (
    copy_to_cpu,
    optimizer_tensors,
    restore_module,
    restore_optimizer,
)
from model.training.team import Team

_NETWORK, _OPTIMIZER = "discriminator", "discriminator-optimizer"


@dataclass(frozen=True)
class Critic:
    """The discriminator with its optimiser."""

    network: Discriminator
    optimizer: torch.optim.Adam

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return the state by groups, for a checkpoint."""
        return {
            _NETWORK: copy_to_cpu(self.network.state_dict()),
            _OPTIMIZER: optimizer_tensors(self.optimizer, self.network),
        }

    def restore(self, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take over what `tensors` gave; a state from before there was a critic changes nothing."""
        if _NETWORK in tensors:
            restore_module(self.network, tensors[_NETWORK], "discriminator")
            restore_optimizer(self.optimizer, self.network, tensors[_OPTIMIZER])


def new_critic(
    image_px: int, config: DiscriminatorConfig, rate: float, team: Team, device: torch.device
) -> Critic:
    """Return an untrained critic; `rate` is Adam's. Draws from torch's generator."""
    network = Discriminator(image_px, config).to(device)
    if team.size > 1:
        hook = _groups_of_the_whole_batch(team, config.minibatch_group)
        network.last_conv.register_forward_pre_hook(hook)
    return Critic(network, torch.optim.Adam(network.parameters(), lr=rate, betas=(0.0, 0.99)))


def _groups_of_the_whole_batch(
    team: Team, group: int
) -> Callable[[nn.Module, tuple[Any, ...]], Tensor]:
    """Return a hook that replaces a share's channel of deviation by that of the whole batch.

    StyleGAN2-ADA forms groups within each process, and refuses shares below a group; eight GPUs
    could not have the paper's batch of eight then.
    """

    def regroup(_: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
        share_BCHW: Tensor = inputs[0][:, :-1]
        return team.share(minibatch_deviation(team.gathered(share_BCHW), group))

    return regroup
