"""What a rendered frame costs and where its time goes: `python -m benchmarks.render`.

The frames come out of the animator, as bytes in the processor's memory, from one source whose
tokens are cached. Their operations over their time are set against the best rate of the same
machine in the same run. The parts are measured without torch.compile, which fuses them.
"""

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

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
from benchmarks.measure.scene import frontal_cameras
from benchmarks.measure.timeline import PartTime, Timeline, mean_parts, watched_network
from model.export3d.describe import describe
from model.export3d.network import Export3D
from model.inference.animator import Animator, Speed


def main(arguments: list[str] | None = None) -> None:
    asked = parser(__doc__, repeats=5)
    asked.add_argument("--batch", type=int, default=8)
    asked.add_argument("--batches", type=int, default=4, help="of frames in one run")
    given = asked.parse_args(arguments)
    clock = clock_of(given)
    bounds = {
        precision: measured_rates(clock, precision) for precision in dict.fromkeys(given.precision)
    }
    cost = describe(network_size(given.size))
    operations = 2 * (cost.macs_per_frame - cost.macs_per_source)
    rows = [measure(variant, given, clock, operations, bounds) for variant in variants(given)]
    result = {
        "command": command(),
        "machine": describe_machine(clock),
        "size": given.size,
        "unit": "frame",
        "batch": given.batch if clock.device.type == "cuda" else 1,
        "tflop_per_frame": operations / 1e12,
        "bounds": bounds,
        "rows": against_first(rows),
    }
    answer(result, given.json)


def measure(
    variant: Variant,
    given: argparse.Namespace,
    clock: Clock,
    operations: int,
    bounds: dict[str, dict[str, float]],
) -> dict[str, Any]:
    """Return the figures of one variant."""
    torch.manual_seed(0)
    config = network_size(given.size)
    network = Export3D(config)
    animator = Animator(
        network,
        device=clock.device,
        batch=given.batch,
        speed=Speed(
            channels_last=variant.channels_last,
            precision="bf16" if variant.precision == "bf16" else "float32",
            compiled=variant.compiled != "no",
        ),
    )
    rng = np.random.default_rng(0)
    side = config.image_px
    portrait = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    frames = given.batches * (given.batch if clock.device.type == "cuda" else 1)
    exp_TE = rng.normal(size=(frames, config.expression_dims)).astype(np.float32)
    cameras_T25 = frontal_cameras(frames)

    animated = animator.portrait(portrait)

    def film() -> None:
        for _ in animated.animate(exp_TE, cameras_T25):
            pass

    forget_peak_memory(clock.device)
    source_s = clock.repeated_s(lambda: animator.portrait(portrait), given.repeats, given.warmup)
    films_s = clock.repeated_s(film, given.repeats, given.warmup)
    frame_s = [film_s / frames for film_s in films_s]
    bound = bounds[variant.precision]["bound_tflop_per_s"]
    return {
        **figures(variant, frame_s, operations, bound),
        "frames_per_s": 1 / statistics.median(frame_s),
        "source_s": statistics.median(source_s),
        "peak_memory_mib": peak_memory_mib(clock.device),
        "parts": [] if variant.compile_mode else parts(network, film, frames, clock, given.repeats),
    }


def parts(
    network: Export3D, film: Callable[[], None], frames: int, clock: Clock, repeats: int
) -> list[dict[str, Any]]:
    """Return what each part of the network takes of a frame."""
    runs = [_part_times(network, film, clock) for _ in range(repeats)]
    return mean_parts(
        [[PartTime(row.part, row.forward_s / frames, 0.0) for row in run] for run in runs]
    )


def _part_times(network: Export3D, film: Callable[[], None], clock: Clock) -> list[PartTime]:
    clock.wait()
    timeline = Timeline(clock)
    with watched_network(timeline, network):
        film()
    return timeline.parts()


if __name__ == "__main__":
    main()
