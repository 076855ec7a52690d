"""Measures the Ray runner against Ray Data on the same stages: `python -m benchmarks.runner`.

Stages nap instead of computing, so that the bound (all naps / two workers) holds on a busy machine.
Both ways have two workers in all. Each row is measured in a fresh process.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

CASES = [
    "start",
    "20 ms",
    "10 + 30 ms",
    "500 ms",
    "250 + 750 ms",
    "killed once",
    "poison",
    "node lost",
]
LIMIT_S = 300


def measure(runner: str, case: str, small: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.runner.one", runner, case]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    try:
        done = subprocess.run(
            command + ["--small"] * small,
            capture_output=True,
            check=False,
            text=True,
            timeout=LIMIT_S,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return {"runner": runner, "case": case, "error": f"no end after {LIMIT_S} s"}
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        return {"runner": runner, "case": case, "error": " ".join(last)[:200]}
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/runner.json"))
    parser.add_argument("--small", action="store_true", help="a quarter of the items")
    options = parser.parse_args()
    jobs = [(runner, case) for case in CASES for runner in ("pool", "data")]
    jobs += [("local", "20 ms"), ("local", "resolve")]
    columns = ["items", "first_s", "steady_s", "bound_s", "run_s", "driver_mib", "outcomes"]
    table = Table("case", "runner", *columns, "bound / steady")
    rows = []
    for runner, case in jobs:
        row = measure(runner, case, options.small)
        rows.append(row)
        steady_s = row.get("steady_s")
        ratio = f"{row['bound_s'] / steady_s:.2f}" if steady_s and "ms" in case else ""
        outcomes = row.get("error") or " ".join(
            f"{count} {name}" for name, count in row.get("outcomes", {}).items()
        )
        figures = [str(row.get(column, "")) for column in columns[:-1]]
        table.add_row(case, runner, *figures, outcomes, ratio)
        print(json.dumps(row), file=sys.stderr, flush=True)
    Console(width=150).print(table)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
