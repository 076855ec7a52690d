"""Processes that train one network together: who does which part, and what they tell each other.

Of a batch each process does every `size`-th pair, with the random numbers that this pair would get
if one process did the batch alone. Gradients are averaged, so weights and moments stay the same in
all of them, and are those of that one process but for the order of sums.

Averaging is one all-reduce of all gradients in a row, after the backward pass. torch's
DistributedDataParallel wraps one forward pass of one module; here a step runs the critic frozen,
then twice before one backward pass, at times through the gradient of a gradient. Its gain would be
to send (280 MB for the paper's network) while the backward pass still runs.

Shape suffixes: B batch of all processes, X any further dimensions.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import torch
from torch import Tensor, distributed, nn
from torch.overrides import TorchFunctionMode

T = TypeVar("T")


class UnevenShareError(ValueError):
    """A batch cannot be divided among the processes alike; one sentence says which numbers can."""


def check_share(batch: int, size: int) -> None:
    """Raise UnevenShareError where `size` processes cannot have the same number of pairs each."""
    if size < 1 or batch % size:
        able = ", ".join(str(n) for n in range(1, batch + 1) if batch % n == 0)
        raise UnevenShareError(
            f"{size} workers cannot share the {batch} pairs of a step evenly; allowed are {able}"
        )


@dataclass(frozen=True)
class Team:
    """One process's place among those that train together; by default it is alone.

    What it exchanges goes over torch's default process group, which is the caller's to set up; for
    tensors on a GPU it needs nccl, for the others gloo. All processes must call alike.
    """

    rank: int = 0
    size: int = 1

    @staticmethod
    def joined() -> "Team":
        """Return this process's place in the default process group; alone where there is none."""
        if distributed.is_available() and distributed.is_initialized():
            return Team(distributed.get_rank(), distributed.get_world_size())
        return Team()

    @property
    def leads(self) -> bool:
        """Whether this process speaks for all: tells, shows, and writes checkpoints."""
        return self.rank == 0

    @overload
    def share(self, whole: Tensor) -> Tensor: ...
    @overload
    def share(self, whole: Sequence[T]) -> Sequence[T]: ...
    def share(self, whole: Any) -> Any:
        """Return this process's part of what has one entry for each pair of the batch."""
        return whole[self.rank :: self.size]

    def gathered(self, share_BX: Tensor) -> Tensor:
        """Return the whole batch from every process's share; gradients find their way back.

        The gradient is that of the sum of all processes' losses, also of higher order.
        """
        if self.size == 1:
            return share_BX
        whole_BX = share_BX.new_zeros(len(share_BX) * self.size, *share_BX.shape[1:])
        whole_BX[self.rank :: self.size] = share_BX
        return _sum_over_team(whole_BX)

    def drawing(self) -> AbstractContextManager[object]:
        """Return the context in which torch.rand draws for the batch and gives this share of it."""
        return nullcontext() if self.size == 1 else _DrawForAll(self)

    @torch.no_grad()
    def average_gradients(self, module: nn.Module) -> None:
        """Replace every gradient of a module by its mean over the processes."""
        if self.size == 1:
            return
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.size
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def means(self, values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the means of scalars over the processes."""
        if self.size == 1 or not values:
            return values
        flat = torch.stack([value.detach().float() for value in values.values()])
        distributed.all_reduce(flat)
        return dict(zip(values, flat / self.size, strict=True))

    def agreed(self, value: float) -> float:
        """Return the leader's value in every process."""
        if self.size == 1:
            return value
        told = torch.tensor(value, dtype=torch.float64)
        distributed.broadcast(told, src=0)
        return told.item()


class _SumOverTeam(torch.autograd.Function):
    """Sum over the processes, whose gradient is a sum over the processes, too."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        summed = value.clone()
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return _sum_over_team(gradients[0])


def _sum_over_team(value: Tensor) -> Tensor:
    summed: Tensor = _SumOverTeam.apply(value)  # type: ignore[no-untyped-call]  # torch lacks it
    return summed


class _DrawForAll(TorchFunctionMode):
    """Makes torch.rand(share, ...) draw for all shares, and return this process's."""

    def __init__(self, team: Team) -> None:
        super().__init__()
        self._team = team

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        if func is not torch.rand:
            return func(*args, **(kwargs or {}))
        share, *others = args
        return self._team.share(torch.rand(share * self._team.size, *others, **(kwargs or {})))
