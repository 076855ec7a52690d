"""What a training run leaves behind, and what it needs to go on as if it had never stopped.

There is no random state among it: every step seeds its own draws from (seed, step).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

JSON: TypeAlias = "str | int | float | bool | Sequence[JSON] | Mapping[str, JSON] | None"


class StateMismatchError(ValueError):
    """A saved state does not fit the network or the training; one sentence says where."""


@dataclass(frozen=True)
class TrainedState:
    """Tensors by group ("weights", "optimizer", ...) on the CPU, and a card of plain values."""

    tensors: Mapping[str, Mapping[str, Tensor]]
    card: Mapping[str, JSON]


def copy_to_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies that later steps do not change."""
    # In plain layout, whatever the one trained in: files know no other.
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


def optimizer_tensors(optimizer: torch.optim.Adam, module: nn.Module) -> dict[str, Tensor]:
    """Return Adam's moments and step counts as `<parameter>/<entry>`."""
    return copy_to_cpu(
        {
            f"{name}/{entry}": value
            for name, parameter in module.named_parameters()
            for entry, value in optimizer.state.get(parameter, {}).items()
        }
    )


def restore_optimizer(
    optimizer: torch.optim.Adam, module: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Give Adam back what `optimizer_tensors` returned for the same module."""
    parameters = dict(module.named_parameters())
    for key, value in tensors.items():
        name, _, entry = key.rpartition("/")
        if name not in parameters:
            raise StateMismatchError(f"the saved optimizer knows {name}, which is not here")
        # Adam keeps its step counts on the CPU, the moments beside the parameters.
        device = torch.device("cpu") if entry == "step" else parameters[name].device
        optimizer.state[parameters[name]][entry] = value.detach().clone().to(device)


def restore_module(module: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Load every weight and buffer; a missing, surplus or misshapen one is a StateMismatchError."""
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise StateMismatchError(f"the weights of the {what} do not fit: {error}") from error


def plain(config: "DataclassInstance") -> JSON:
    """Return a configuration as plain values for a card."""
    values: JSON = json.loads(json.dumps(asdict(config)))
    return values


@contextmanager
def seeded(key: Sequence[int], device: torch.device) -> Iterator[None]:
    """Make torch draw by `key` inside, and leave the caller's generator alone."""
    number = np.random.SeedSequence(list(key)).generate_state(1, np.uint32)[0]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(number))
        yield
