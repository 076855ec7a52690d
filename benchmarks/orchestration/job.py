"""One job from its first shot to its last delivered file, on Ray; how much of it is not rendering.

Within the steady part all workers have their turns: it begins and ends with a multiple of as many
shots as there are workers, past the first turns and before the last. Its bound is the naps alone.
"""

import math
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure.sampled import sampled
from benchmarks.orchestration.simulated import (
    NOW,
    simulated_job,
    stage_spec,
    write_small_film,
)
from benchmarks.orchestration.stage import SimulatedShot
from pipeline.events import Event, ItemDone
from pipeline.progress import RichProgress
from pipeline.provenance.certificates import SigningIdentity, signing_identity
from pipeline.provenance.claim import Claim
from pipeline.provenance.manifest import read_manifest, sign_film
from pipeline.rendering.delivery import deliver
from pipeline.rendering.plan import RenderPlan
from pipeline.runners.embedded import connected
from pipeline.runners.ray_runner import RayRunner
from pipeline.stage import Item, StageSpec
from pipeline.stages.rendering import RenderConfig
from storage.ledger import Ledger
from storage.store import open_store

CONFIG = RenderConfig(mark_key=None)
_SIGNED_ALONE = 5


@dataclass(frozen=True)
class Asked:
    """What is simulated."""

    shots: int
    workers: int
    seconds: float
    """Of a shot's nap."""


def run_job(store: str, asked: Asked) -> dict[str, Any]:
    """Run the job and deliver it; see the module."""
    ledger = Ledger(open_store(store))
    plan, items = simulated_job(ledger, f"job-{uuid.uuid4().hex[:8]}", asked.shots)
    with tempfile.TemporaryDirectory(prefix="e3d-benchmark-") as name:
        film = write_small_film(Path(name) / "film.mp4")
        identity = signing_identity(Path(name), {})
        cpus = len(os.sched_getaffinity(0)) / asked.workers
        spec = stage_spec(asked.seconds, cpus, film)
        began_s = time.monotonic()
        with connected(None):
            start_s = time.monotonic() - began_s
            done, shots = _rendered(store, spec, items, asked)
        alone_s = _signing_alone_s(film, identity, Path(name))
        return {
            **shots,
            "film_bytes": film.stat().st_size,
            "ray_start_s": start_s,
            "delivery": _delivered(ledger, plan, done, identity, alone_s),
        }


def run_stage(store: str, spec: StageSpec, items: Sequence[Item], on_event: Any) -> list[Item]:
    """Run the simulated stage as flows do."""
    return RayRunner().run(
        [spec], items, store_url=store, run_id=uuid.uuid4().hex, on_event=on_event
    )


def _rendered(
    store: str, spec: StageSpec, items: list[Item], asked: Asked
) -> tuple[list[Item], dict[str, Any]]:
    ended_s: list[float] = []
    began_s, began_processor_s = time.monotonic(), time.process_time()
    with (
        RichProgress([SimulatedShot.name], len(items)) as bars,
        sampled(resident_mib) as memory_mib,
    ):

        def observe(event: Event) -> None:
            if isinstance(event, ItemDone):
                ended_s.append(time.monotonic() - began_s)
            bars.observe(event)

        done = run_stage(store, spec, items, observe)
        run_s = time.monotonic() - began_s
    inside_s = [item.commits[SimulatedShot.name].seconds for item in done]
    return done, {
        **steady_part(ended_s, asked),
        "run_s": run_s,
        "whole_bound_s": asked.seconds * math.ceil(asked.shots / asked.workers),
        "first_shot_s": ended_s[0],
        "driver_processor_s": time.process_time() - began_processor_s,
        "shot_inside_stage_s": statistics.median(inside_s),
        "driver_memory": first_and_last_quarter(memory_mib),
    }


def steady_part(ended_s: Sequence[float], asked: Asked) -> dict[str, float]:
    """Return the steady part's time, its bound, and the share that lacks; see the module.

    ended_s: when each shot ended, in order.
    """
    turns = asked.shots // asked.workers
    first, last = max(1, turns // 10), turns - 1
    steady_s = ended_s[last * asked.workers - 1] - ended_s[first * asked.workers - 1]
    bound_s = (last - first) * asked.seconds
    share = 1 - bound_s / steady_s
    return {"steady_s": steady_s, "bound_s": bound_s, "orchestration_share": share}


def first_and_last_quarter(memory_mib: Sequence[float]) -> dict[str, float]:
    """Return the medians of the first and the last quarter of a run's samples, and the largest."""
    quarter = max(1, len(memory_mib) // 4)
    return {
        "first_quarter_mib": statistics.median(memory_mib[:quarter]),
        "last_quarter_mib": statistics.median(memory_mib[-quarter:]),
        "largest_mib": max(memory_mib),
    }


def _delivered(
    ledger: Ledger,
    plan: RenderPlan,
    done: list[Item],
    identity: SigningIdentity,
    alone_s: float,
) -> dict[str, float]:
    seconds = []
    with sampled(resident_mib) as memory_mib:
        for _ in range(2):
            began_s = time.monotonic()
            made = deliver(ledger, plan, done, CONFIG, identity, NOW)
            seconds.append(time.monotonic() - began_s)
            assert all(row["outcome"] == "ok" for row in made.rows), made.rows[0]
    assert made.written == 0
    bound_s = alone_s * len(done) / len(os.sched_getaffinity(0))
    return {
        "seconds": seconds[0],
        "bound_s": bound_s,
        "of_bound": bound_s / seconds[0],
        "again_s": seconds[1],
        "largest_mib": max(memory_mib),
    }


def _signing_alone_s(film: Path, identity: SigningIdentity, folder: Path) -> float:
    """Median time in which one film is signed and read again, with nothing beside it."""
    claim = Claim(
        mode="film", job="alone", shot="alone", still_sha256="a" * 64, performance_sha256="b" * 64,
        run="alone", weights_key="c" * 64, dataset_key="d" * 64, recipe_digest="e" * 64,
        consent="alone", visible_mark=True, mark_key=None,
    )  # fmt: skip
    seconds = []
    for _ in range(_SIGNED_ALONE):
        began_s = time.monotonic()
        sign_film(film, folder / "signed.mp4", claim, identity)
        read_manifest(folder / "signed.mp4")
        seconds.append(time.monotonic() - began_s)
    return statistics.median(seconds)


def resident_mib() -> float:
    """Return this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
