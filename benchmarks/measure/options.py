"""What both benchmarks of the network are asked, and how they answer."""

import argparse
import itertools
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.measure.clock import Clock
from model.export3d import sizes
from model.export3d.config import Export3DConfig

_COMPILE_MODES = {"no": None, "default": "default", "graphs": "reduce-overhead"}


@dataclass(frozen=True)
class Variant:
    """One way of computing the same."""

    precision: str
    layout: str
    compiled: str

    @property
    def channels_last(self) -> bool:
        """Whether a convolution's channels lie side by side."""
        return self.layout == "channels_last"

    @property
    def compile_mode(self) -> str | None:
        """Mode of torch.compile, or None."""
        return _COMPILE_MODES[self.compiled]


def parser(description: str | None, *, repeats: int) -> argparse.ArgumentParser:
    """Return a parser of the options that the benchmarks share."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--size", default="export3d_mini", help="a name of model/export3d/sizes.py")
    made.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    several = "several are measured one after the other, and compared with the first"
    made.add_argument(
        "--precision", nargs="+", choices=["float32", "bf16"], default=["float32"], help=several
    )
    made.add_argument(
        "--layout",
        nargs="+",
        choices=["contiguous", "channels_last"],
        default=["contiguous"],
        help=several,
    )
    made.add_argument(
        "--compiled",
        nargs="+",
        choices=list(_COMPILE_MODES),
        default=["no"],
        help="torch.compile; graphs: with CUDA graphs; " + several,
    )
    made.add_argument("--repeats", type=int, default=repeats)
    made.add_argument("--warmup", type=int, default=3)
    made.add_argument("--threads", type=int, help="of a CPU; default: PyTorch's own")
    made.add_argument(
        "--processor-time", action="store_true", help="on a CPU, for a machine with other work"
    )
    made.add_argument("--json", type=Path, help="where the result is written")
    return made


def network_size(name: str) -> Export3DConfig:
    """Return a size by its name. Raises SystemExit for a name that is none."""
    made = getattr(sizes, name, None) if name.startswith("export3d_") else None
    if made is None:
        known = ", ".join(found for found in vars(sizes) if found.startswith("export3d_"))
        raise SystemExit(f"size is {name!r}; allowed is {known}")
    config: Export3DConfig = made()
    return config


def clock_of(given: argparse.Namespace) -> Clock:
    """Return the clock of the device that was asked for, after setting the threads."""
    if given.threads:
        torch.set_num_threads(given.threads)
    return Clock(torch.device(given.device), given.processor_time)


def variants(given: argparse.Namespace) -> Iterator[Variant]:
    """Return all combinations that were asked for."""
    for choice in itertools.product(given.precision, given.layout, given.compiled):
        yield Variant(*choice)


def figures(
    variant: Variant, seconds: list[float], operations: int, bound_tflop_per_s: float
) -> dict[str, Any]:
    """Return what one variant's runs tell; `operations` are those of one run."""
    median_s = statistics.median(seconds)
    rate = operations / median_s / 1e12
    return {
        "precision": variant.precision,
        "layout": variant.layout,
        "compiled": variant.compiled,
        "seconds": median_s,
        "least_s": min(seconds),
        "largest_s": max(seconds),
        "tflop_per_s": rate,
        "of_bound": rate / bound_tflop_per_s,
    }


def against_first(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with how many times as fast as the first each is."""
    return [{**row, "speed_over_first": rows[0]["seconds"] / row["seconds"]} for row in rows]


def answer(result: dict[str, Any], path: Path | None) -> None:
    """Write the result to `path`, if given, and print its tables."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")
    unit = result["unit"]
    table = Table("variant", f"ms / {unit}", f"{unit}s / s", "TFLOP/s", "of bound", "MiB", "speed")
    for row in result["rows"]:
        table.add_row(
            f"{row['precision']}, {row['layout']}, compiled {row['compiled']}",
            f"{1000 * row['seconds']:.1f}",
            f"{1 / row['seconds']:.2f}",
            f"{row['tflop_per_s']:.3g}",
            f"{row['of_bound']:.2f}",
            f"{row['peak_memory_mib']:.0f}",
            f"{row['speed_over_first']:.2f}",
        )
    console = Console()
    console.print(table)
    for row in result["rows"]:
        if row["parts"]:
            console.print(_parts_table(row))


def _parts_table(row: dict[str, Any]) -> Table:
    table = Table(f"{row['precision']}, {row['layout']}", "forward ms", "backward ms", "share")
    for part in row["parts"]:
        table.add_row(
            part["part"],
            f"{1000 * part['forward_s']:.2f}",
            f"{1000 * part['backward_s']:.2f}",
            f"{part['share']:.1%}",
        )
    return table
