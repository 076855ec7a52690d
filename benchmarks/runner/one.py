"""One measurement in a process of its own; prints one line of JSON."""

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.runner.chain import Second, Third, chain, items
from pipeline.events import Event, ItemDone
from pipeline.execute import resolve
from pipeline.reaper import guard_children
from pipeline.runners.contract import Runner
from pipeline.runners.local import LocalRunner
from pipeline.runners.ray_runner import RayRunner
from pipeline.stage import Item, StageSpec, chain_keys
from storage.ledger import Ledger
from storage.store import open_store


def make_runner(name: str, address: str | None) -> Runner:
    if name == "local":
        return LocalRunner()
    if name == "pool":
        return RayRunner(address)
    # Ray Data's import would weigh on the other's memory.
    from benchmarks.runner.ray_data import RayDataRunner  # noqa: PLC0415

    return RayDataRunner(address)


def measure(
    runner: Runner,
    folder: Path,
    naps_s: tuple[float, float],
    work: list[Item],
    on_event: Any = None,
) -> dict[str, Any]:
    """Run the two-stage chain on two workers; times count from the call of run()."""
    start = time.monotonic()
    seen: list[tuple[float, Event]] = []

    def note(event: Event) -> None:
        seen.append((time.monotonic() - start, event))
        if on_event:
            on_event(event)

    out = runner.run(
        chain(*naps_s, folder), work, store_url=str(folder / "store"), run_id="r", on_event=note
    )
    ends = [at for at, event in seen if isinstance(event, ItemDone) and event.stage == "second"]
    return {
        "items": len(work),
        "outcomes": dict(Counter(item.ended.outcome if item.ended else "ok" for item in out)),
        "first_s": round(ends[0], 2),
        "steady_s": round(ends[-1] - ends[0], 2),
        "run_s": round(time.monotonic() - start, 2),
        "bound_s": round(sum(naps_s) * (len(work) - 1) / 2, 2),
        "driver_mib": driver_mib(),
    }


def driver_mib() -> int:
    """Peak resident memory of this process, which is the driver."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def lose_a_node(name: str, folder: Path, number: int) -> dict[str, Any]:
    """Two machines of one core each; the second is lost after a third of the items."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415  only this case needs it

    os.environ.setdefault("RAY_AUTH_TOKEN", "0" * 64)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    lost = [cluster.add_node(num_cpus=1)]
    ended = 0

    def lose(_: Event) -> None:
        nonlocal ended
        ended += 1
        if lost and ended > 2 * number // 3:
            cluster.remove_node(lost.pop(), allow_graceful=False)

    try:
        runner = make_runner(name, cluster.address)
        return measure(runner, folder, (0.25, 0.25), items(number, {}), lose)
    finally:
        cluster.shutdown()


def measure_resolve(folder: Path, number: int) -> dict[str, Any]:
    """A rerun with nothing to do: three stages, everything in a folder store."""
    specs = [*chain(0, 0, folder), StageSpec(Third, chain(0, 0, folder)[0].config)]
    stages = [spec.build() for spec in specs]
    assert isinstance(stages[1], Second)
    work = items(number, {})
    ledger = Ledger(open_store(str(folder / "store")))
    for item in work:
        for stage, key in chain_keys(stages, item).items():
            ledger.commit(stage, key, outcome="ok", started_at="", seconds=0.0)
    start = time.monotonic()
    done, pending = resolve(ledger, stages, work, lambda _: None)
    assert (len(done), len(pending)) == (number, 0)
    return {"items": number, "run_s": round(time.monotonic() - start, 2)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runner")
    parser.add_argument("case")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    runner = options.runner
    size = 4 if options.small else 1

    def run(folder: Path) -> dict[str, Any]:
        if options.case == "resolve":
            return measure_resolve(folder, 2000 // size)
        if options.case == "node lost":
            return lose_a_node(runner, folder, 24 // size)
        naps_s, number, tricks = {
            "start": ((0.0, 0.0), 2, {}),
            "20 ms": ((0.02, 0.02), 400 // size, {}),
            "10 + 30 ms": ((0.01, 0.03), 400 // size, {}),
            "500 ms": ((0.5, 0.5), 24 // size, {}),
            "250 + 750 ms": ((0.25, 0.75), 24 // size, {}),
            "killed once": ((0.1, 0.1), 40 // size, {5: "second:dies_once"}),
            "poison": ((0.1, 0.1), 40 // size, {5: "second:dies"}),
        }[options.case]
        return measure(make_runner(runner, None), folder, naps_s, items(number, tricks))

    with guard_children(), tempfile.TemporaryDirectory() as folder:
        row = run(Path(folder))
    print(json.dumps({"runner": options.runner, "case": options.case, **row}))


if __name__ == "__main__":
    main()
