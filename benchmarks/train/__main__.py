"""What a training step costs and where its time goes: `python -m benchmarks.train`.

The step is the trainer's own, on noise. Its operations (convolutions and matrix products, forward
and backward) over its time are set against the best rate of the same machine in the same run. The
parts are measured without torch.compile, which fuses them.
"""

import argparse
import math
import statistics
from collections.abc import Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure.clock import Clock
from benchmarks.measure.machine import (
    command,
    describe_machine,
    forget_peak_memory,
    measured_rates,
    peak_memory_mib,
)
from benchmarks.measure.options import (
    Variant,
    against_first,
    answer,
    clock_of,
    figures,
    network_size,
    parser,
    variants,
)
from benchmarks.measure.timeline import REST, PartTime, Timeline, mean_parts, watched_network
from benchmarks.train.trainee import Plan, Trainee
from model.training import trainer as trainer_module
from model.training.config import TrainingConfig
from pipeline.recipes import TRAIN


def main(arguments: list[str] | None = None) -> None:
    asked = parser(__doc__, repeats=10)
    asked.add_argument("--batch", type=int, help="default: the recipe's")
    asked.add_argument(
        "--phase", choices=["reconstruction", "adversarial"], default="reconstruction"
    )
    given = asked.parse_args(arguments)
    plan = plan_of(given)
    clock = clock_of(given)
    bounds = {
        precision: measured_rates(clock, precision) for precision in dict.fromkeys(given.precision)
    }
    operations = step_operations(plan)
    rows = [measure(variant, plan, given, clock, operations, bounds) for variant in variants(given)]
    result = {
        "command": command(),
        "machine": describe_machine(clock),
        "size": given.size,
        "unit": "step",
        "batch": plan.training.batch,
        "phase": given.phase,
        "perceptual_blocks": plan.perceptual_blocks,
        "perceptual_px": plan.perceptual_px,
        "tflop_per_step": operations / 1e12,
        "bounds": bounds,
        "rows": against_first(rows),
    }
    answer(result, given.json)


def plan_of(given: argparse.Namespace) -> Plan:
    """Return the training that was asked for: the recipe named like the size, else the paper's."""
    network = network_size(given.size)
    plan = Plan(network, TrainingConfig(), perceptual_blocks=5, perceptual_px=None)
    if given.size in TRAIN:
        config = TRAIN[given.size]().export3d
        blocks, px = config.perceptual_blocks, config.perceptual_px
        plan = Plan(network, config.training, blocks, px)
    training = replace(
        plan.training,
        batch=given.batch or plan.training.batch,
        adversarial_steps=int(given.phase == "adversarial"),
    )
    return replace(plan, training=training)


def step_operations(plan: Plan) -> int:
    """Return the floating-point operations of a step, counted without computing anything."""
    mapping = {torch.ops.aten.convolution_backward: convolution_backward_operations}
    counter = FlopCounterMode(display=False, custom_mapping=mapping)
    # There is no autocast on the meta device, and the count is the same without.
    unchanged = patch.object(trainer_module, "arithmetic", lambda *_: nullcontext())
    with closing(Trainee(plan, torch.device("meta"))) as trainee, counter, unchanged:
        trainee.step()
    return counter.get_total_flops()


def convolution_backward_operations(
    gradient_shape: Sequence[int],
    _input_shape: Sequence[int],
    weight_shape: Sequence[int],
    *others: Any,
    **_out: Any,
) -> int:
    """Return a convolution's operations on the way back: each gradient costs its forward pass.

    PyTorch's own formula overlooks the groups, and so counts a depth-wise one for a full one.
    """
    wants_input, wants_weight, _wants_bias = others[-1]
    forward = 2 * math.prod(gradient_shape) * math.prod(weight_shape[1:])
    return forward * (bool(wants_input) + bool(wants_weight))


def measure(
    variant: Variant,
    plan: Plan,
    given: argparse.Namespace,
    clock: Clock,
    operations: int,
    bounds: dict[str, dict[str, float]],
) -> dict[str, Any]:
    """Return the figures of one variant."""
    bound = bounds[variant.precision]["bound_tflop_per_s"]
    computed = plan.computed(variant.precision, channels_last=variant.channels_last)
    with closing(Trainee(computed, clock.device)) as trainee:
        if variant.compile_mode:
            trainee.compile(variant.compile_mode)
        forget_peak_memory(clock.device)
        seconds = clock.repeated_s(trainee.step, given.repeats, given.warmup)
        return {
            **figures(variant, seconds, operations, bound),
            "images_per_s": plan.training.batch / statistics.median(seconds),
            "peak_memory_mib": peak_memory_mib(clock.device),
            "parts": [] if variant.compile_mode else parts(trainee, clock, given.repeats),
        }


def parts(trainee: Trainee, clock: Clock, repeats: int) -> list[dict[str, Any]]:
    """Return what each part of the network takes of a step."""
    return mean_parts([_part_times(trainee, clock) for _ in range(repeats)])


def _part_times(trainee: Trainee, clock: Clock) -> list[PartTime]:
    backward = torch.autograd.backward
    clock.wait()
    timeline = Timeline(clock, base="data")

    def backward_and_back(loss: torch.Tensor) -> None:
        backward(loss)
        timeline.become(REST)

    network, critic = trainee.training.network, trainee.critic
    with ExitStack() as watching:
        watching.enter_context(watched_network(timeline, network))
        starts = network.register_forward_pre_hook(lambda *_: timeline.become(REST))
        watching.callback(starts.remove)
        if critic is not None:
            for handle in timeline.watch_module("discriminator", critic):
                watching.callback(handle.remove)
        loss = timeline.watched("loss", trainer_module.reconstruction_loss)
        watching.enter_context(patch.object(trainer_module, "reconstruction_loss", loss))
        watching.enter_context(patch.object(torch.autograd, "backward", backward_and_back))
        trainee.step()
    return timeline.parts()


if __name__ == "__main__":
    main()
