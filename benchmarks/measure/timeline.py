"""Where the time goes: every moment of a run belongs to one part of the network, or to the rest.

Forward, a part lasts from its entry to its exit, less what it calls. Backward, it lasts from the
moment when the gradient of its output is known to the moment when that of another part's is: the
engine goes through the parts in the opposite order. Nothing is lost, so parts add up to the whole.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from functools import wraps
from typing import Any
from unittest.mock import patch

from torch import Tensor, nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.hooks import RemovableHandle

from benchmarks.measure.clock import Clock, Stamp
from model.export3d import network as network_module
from model.export3d.network import Export3D
from model.rendering import volume as volume_module

REST = "rest"

PARTS = {
    "condition": "condition",
    "generator.stem": "stem",
    "generator.merge_source": "stem",
    "generator.detail": "stem",
    "generator.blocks": "blocks",
    "generator.spread_source": "grow",
    "generator.grow": "grow",
    "generator.grow_more": "grow",
    "generator.fuse": "grow",
    "generator.merge_planes": "grow",
    "generator.refine": "refine",
    "generator.spread_planes": "to_planes",
    "generator.to_planes": "to_planes",
    "decoder": "decoder",
    "superres": "superres",
}
"""Parts by the modules they consist of; "march" and "sampling" are functions (Spec 2.4.3, 2.5)."""


@dataclass(frozen=True)
class PartTime:
    """Seconds of one part in one run."""

    part: str
    forward_s: float
    backward_s: float


class Timeline:
    """Stamps each change from one part to another; a part begun inside another interrupts it."""

    def __init__(self, clock: Clock, base: str = REST) -> None:
        self._clock = clock
        self._base = (base, False)
        self._open: list[tuple[str, bool]] = []
        self._marks: list[tuple[str, bool]] = [self._base]
        self._stamps: list[Stamp] = [clock.stamp()]

    def enter(self, part: str) -> None:
        """Begin a part inside the present one."""
        self._open.append((part, False))
        self._mark()

    def leave(self) -> None:
        """Go back to the part that was interrupted."""
        self._open.pop()
        self._mark()

    def become(self, part: str, *, backward: bool = False) -> None:
        """Say what the time outside of all entered parts belongs to from now on."""
        self._base = (part, backward)
        self._mark()

    def parts(self) -> list[PartTime]:
        """Stop; return the seconds of all parts in the order of their first appearance."""
        self._stamps.append(self._clock.stamp())
        sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        durations = self._clock.durations_s(self._stamps)
        for (part, backward), seconds in zip(self._marks, durations, strict=True):
            sums[part][backward] += seconds
        return [PartTime(part, *both) for part, both in sums.items()]

    def _mark(self) -> None:
        self._marks.append(self._open[-1] if self._open else self._base)
        self._stamps.append(self._clock.stamp())

    def watch_module(self, part: str, module: nn.Module) -> list[RemovableHandle]:
        """Count the module's passes to the part, until the handles are removed."""

        def leave(_module: nn.Module, _inputs: object, output: object) -> None:
            self.leave()
            self._await_gradients(part, output)

        return [
            module.register_forward_pre_hook(lambda *_: self.enter(part)),
            module.register_forward_hook(leave),
        ]

    def watched(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its time counted to the part."""

        @wraps(work)
        def run(*args: Any, **named: Any) -> Any:
            self.enter(part)
            output = work(*args, **named)
            self.leave()
            self._await_gradients(part, output)
            return output

        return run

    def _await_gradients(self, part: str, output: object) -> None:
        for tensor in _tensors(output):
            if tensor.requires_grad:
                tensor.register_hook(lambda _: self.become(part, backward=True))


@contextmanager
def watched_network(timeline: Timeline, network: Export3D) -> Iterator[None]:
    """Count all parts of a network, and the optimisers' steps, while inside."""
    modules = dict(network.named_modules())
    with ExitStack() as watching:
        handles = [
            handle
            for name, part in PARTS.items()
            if isinstance(modules.get(name), nn.Module)
            for module in _passes(modules[name])
            for handle in timeline.watch_module(part, module)
        ]
        handles += [
            register_optimizer_step_pre_hook(lambda *_: timeline.enter("optimiser")),
            register_optimizer_step_post_hook(lambda *_: timeline.leave()),
        ]
        for handle in handles:
            watching.callback(handle.remove)
        for module, name, part in (
            (network_module, "render", "march"),
            (volume_module, "sample_triplane", "sampling"),
        ):
            counted = timeline.watched(part, getattr(module, name))
            watching.enter_context(patch.object(module, name, counted))
        yield


def mean_parts(runs: list[list[PartTime]]) -> list[dict[str, Any]]:
    """Return the parts' mean times over runs, with their shares of the whole."""
    order = [row.part for row in runs[0]]
    sums = {part: [0.0, 0.0] for part in order}
    for row in (row for run in runs for row in run):
        both = sums.setdefault(row.part, [0.0, 0.0])
        both[0] += row.forward_s / len(runs)
        both[1] += row.backward_s / len(runs)
    whole_s = sum(sum(both) for both in sums.values())
    return [
        {**asdict(PartTime(part, *both)), "share": sum(both) / whole_s}
        for part, both in sums.items()
    ]


def _passes(module: nn.Module) -> list[nn.Module]:
    """Return the modules that are called: a list's members, or the module."""
    return list(module) if isinstance(module, nn.ModuleList) else [module]


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for inner in value:
            yield from _tensors(inner)
    elif is_dataclass(value):
        yield from _tensors(list(vars(value).values()))
