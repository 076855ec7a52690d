"""The machine that a figure was measured on, and the rates that bound it."""

import gc
import os
import platform
import resource
import sys
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from benchmarks.measure.clock import Clock

_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


def describe_machine(clock: Clock) -> dict[str, Any]:
    """Return processor, device, versions, and how busy the machine is with other work."""
    device = clock.device
    told: dict[str, Any] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 1),
        "device": "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device),
        "torch": torch.__version__,
        "clock": clock.name,
    }
    if device.type == "cuda":
        told["cuda"] = torch.version.cuda
        told["cudnn"] = torch.backends.cudnn.version()
    return told


def command() -> str:
    """Return the command that was given, to repeat it."""
    package = sys.modules["__main__"].__spec__
    name = package.name.removesuffix(".__main__") if package else sys.argv[0]
    return " ".join(["python", "-m", name, *sys.argv[1:]])


def measured_rates(clock: Clock, precision: str) -> dict[str, float]:
    """Return what the machine reaches on its best shapes, in TFLOP/s; `bound` is the larger.

    Square matrices, and a 3x3 convolution of 128 channels at 128 px in the better of both memory
    layouts; sides 8192 and batch 8 on a GPU, 1024 and 1 on a CPU.
    """
    large = clock.device.type == "cuda"
    side, batch = (8192, 8) if large else (1024, 1)
    kind = {"device": clock.device, "dtype": _DTYPES[precision]}
    a, b = torch.randn(2, side, side, **kind).unbind()
    matmul = _rate(clock, lambda: a @ b, 2 * side**3)
    convolutions = []
    for layout in (torch.contiguous_format, torch.channels_last):
        image = torch.randn(batch, 128, 128, 128, **kind).to(memory_format=layout)
        weight = torch.randn(128, 128, 3, 3, **kind).to(memory_format=layout)
        operations = 2 * batch * 9 * 128**4
        convolutions.append(
            _rate(clock, lambda x=image, w=weight: functional.conv2d(x, w, padding=1), operations)
        )
    return {
        "matmul_tflop_per_s": matmul,
        "convolution_tflop_per_s": max(convolutions),
        "bound_tflop_per_s": max(matmul, *convolutions),
    }


def forget_peak_memory(device: torch.device) -> None:
    """Start to look for the peak anew, where the device can."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_mib(device: torch.device) -> float:
    """Return the most memory in use: on a GPU by tensors, on a CPU by the process so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


@torch.no_grad()
def _rate(clock: Clock, work: Any, operations: int) -> float:
    return operations / min(clock.repeated_s(work, repeats=10, warmup=3)) / 1e12


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
