"""How near pre-processing comes to what the machine could do: `python -m benchmarks.preprocess`.

Three rates over the same film, in frames of its 25 fps copy a second and core: its bare parts
(decoding alone, the landmark network alone), its stages one after the other in a plain loop, and
the whole path on Ray with as many films at a time as there are cores. The bound of the whole is the
sum of the stages' seconds divided by the cores: all that orchestration, storage and waiting cost is
what lacks to it.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as a worker has it
os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")

from rich.console import Console
from rich.table import Table

from benchmarks.measure.sampled import sampled
from benchmarks.preprocess.memory import peak_mib_of_workers
from pipeline.faces.backends import open_networks
from pipeline.films import find_films, identify_films
from pipeline.recipes import PreprocessRecipe, preprocess_recipe
from pipeline.runners.embedded import connected
from pipeline.runners.local import LocalRunner
from pipeline.runners.ray_runner import RayRunner
from pipeline.stage import Item
from preprocess.landmarks.backend import observe_all
from preprocess.media.decode import decode_film
from storage import assets

_BARE_FRAMES = 150
_REPEATS = 3


def bare_rates(film: Path, recipe: PreprocessRecipe) -> dict[str, float]:
    """Frames a second of decoding alone, and of following one face alone; medians."""
    frames = [frame.rgb for frame in islice(decode_film(film), _BARE_FRAMES)]
    networks = open_networks(recipe.landmarks.networks)
    face = observe_all(frames[0], networks.detectors[0], networks.landmarks)[0]

    def decode() -> None:
        for _ in islice(decode_film(film), len(frames)):
            pass

    def follow() -> None:
        for rgb in frames:
            networks.landmarks.track(rgb, face)

    parts: dict[str, Callable[[], None]] = {"decode": decode, "landmarks": follow}
    return {
        name: len(frames) / statistics.median(_seconds(part) for _ in range(_REPEATS))
        for name, part in parts.items()
    }


def stage_rates(film: Path, recipe: PreprocessRecipe, folder: Path) -> dict[str, float]:
    """Frames a second of each stage, in a plain loop on one core."""
    (item,) = _run(LocalRunner(), [film], recipe, folder / "alone")
    return {name: _ticks(item) / commit.seconds for name, commit in item.commits.items()}


def whole_rate(films: list[Path], recipe: PreprocessRecipe, folder: Path) -> dict[str, float]:
    """Frames a second of all films on an embedded Ray that has started, and memory of workers."""
    with connected(None), sampled(peak_mib_of_workers) as peaks:
        began_s = time.monotonic()
        items = _run(RayRunner(), films, recipe, folder / "whole")
        seconds = time.monotonic() - began_s
    return {
        "frames": sum(_ticks(item) for item in items),
        "seconds": seconds,
        "rate": sum(_ticks(item) for item in items) / seconds,
        "worker_peak_mib": max(peaks, default=0.0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("film", type=Path, nargs="?", help="default: the demo's performance")
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--copies", type=int, default=4, help="films of the whole path, for a core")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/preprocess.json"))
    given = parser.parse_args()
    film = given.film or assets.fetch("demo_performance")
    recipe = preprocess_recipe(given.recipe)
    for name in recipe.landmarks.networks.assets:
        assets.fetch(name)
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="e3d-benchmark-") as name:
        folder = Path(name)
        bare = bare_rates(film, recipe)
        stages = stage_rates(film, recipe, folder)
        whole = whole_rate(_copies(film, given.copies * cores, folder), recipe, folder)
    bound = cores / sum(1 / rate for rate in stages.values())
    result = {
        "machine": {"cores": cores, "processor": platform.processor() or platform.machine()},
        "film": film.name,
        "recipe": recipe.name,
        "bare_frames_per_s": bare,
        "stage_frames_per_s": stages,
        "whole": whole,
        "bound_frames_per_s": bound,
        "whole_over_bound": whole["rate"] / bound,
        "whole_over_slowest_stage": whole["rate"] / min(stages.values()),
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1))
    _show(result)


def _show(result: dict[str, Any]) -> None:
    table = Table("what", "frames/s")
    for name, rate in result["bare_frames_per_s"].items():
        table.add_row(f"bare {name}, one core", f"{rate:.1f}")
    for name, rate in result["stage_frames_per_s"].items():
        table.add_row(f"stage {name}, one core", f"{rate:.1f}")
    whole, cores = result["whole"], result["machine"]["cores"]
    table.add_row(f"whole path, {cores} cores", f"{whole['rate']:.1f}")
    table.add_row("whole path, for a core", f"{whole['rate'] / cores:.1f}")
    table.add_row(f"bound: stages alone on {cores} cores", f"{result['bound_frames_per_s']:.1f}")
    Console().print(table)
    Console().print(
        f"whole / bound {result['whole_over_bound']:.2f}, whole / slowest stage "
        f"{result['whole_over_slowest_stage']:.2f}, worker {whole['worker_peak_mib']:.0f} MiB"
    )


def _run(runner: Any, films: list[Path], recipe: PreprocessRecipe, store: Path) -> list[Item]:
    items: list[Item] = runner.run(
        recipe.stages(),
        identify_films(find_films([str(film) for film in films])),
        store_url=str(store),
        run_id=uuid.uuid4().hex,
        on_event=lambda _event: None,
    )
    return items


def _ticks(item: Item) -> int:
    return item.commits["ingest"].counts["frames_out"]


def _copies(film: Path, count: int, folder: Path) -> list[Path]:
    """Copies that play the same and are other films to the ledger: an empty box at the end."""
    made = []
    for number in range(count):
        copy = folder / f"{number}{film.suffix}"
        shutil.copyfile(film, copy)
        with copy.open("ab") as end:
            end.write((16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big"))
        made.append(copy)
    return made


def _seconds(part: Callable[[], None]) -> float:
    began_s = time.perf_counter()
    part()
    return time.perf_counter() - began_s


if __name__ == "__main__":
    main()
