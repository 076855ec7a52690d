"""A job again of which everything is there: records found, and nothing computed or delivered."""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from benchmarks.orchestration.job import CONFIG, resident_mib, run_stage
from benchmarks.orchestration.simulated import NOW, simulated_job, stage_spec
from benchmarks.orchestration.stage import FRAMES, SimulatedShot
from pipeline.progress import RichProgress
from pipeline.provenance.certificates import SigningIdentity, signing_identity
from pipeline.rendering import delivery
from pipeline.rendering.plan import RenderPlan
from pipeline.stage import Item, StageSpec, stage_key
from pipeline.stages.rendering import DELIVERED, STRIP, THUMBNAIL
from storage.identity import digest
from storage.ledger import Commit, Ledger, Output
from storage.store import open_store

_WRITERS = 8


def measure_resume(store: str, shots: int) -> dict[str, Any]:
    """Return the seconds of a run with nothing to do, of the same again, and of its delivery.

    The first run finds records as a killed run leaves them, the second as one that has ended.
    """
    ledger = Ledger(open_store(store))
    plan, items = simulated_job(ledger, f"resume-{uuid.uuid4().hex[:8]}", shots)
    spec = stage_spec(seconds=0.0, cpus=1.0)
    began_s = time.monotonic()
    payload = Output(DELIVERED, "payload/simulated/film.mp4", 4, digest("film"))
    ledger.store.put(payload.key, b"film")
    _commit_all(store, items, spec, payload)
    commit_s = time.monotonic() - began_s
    seconds: dict[str, float] = {}
    processor_s: dict[str, float] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        began_s, began_processor_s = time.monotonic(), time.process_time()
        yield
        seconds[name] = time.monotonic() - began_s
        processor_s[name] = time.process_time() - began_processor_s

    for name in ("after_a_kill_s", "after_its_end_s"):
        with timed(name), RichProgress([SimulatedShot.name], len(items)) as bars:
            done = run_stage(store, spec, items, bars.observe)
    assert all(SimulatedShot.name in item.commits for item in done)
    with TemporaryDirectory(prefix="e3d-benchmark-") as folder:
        identity = signing_identity(Path(folder), {})
        deliver_s = _deliver_unsigned(ledger, plan, done, identity, payload)
        with timed("delivery_again_s"):
            again = delivery.deliver(ledger, plan, done, CONFIG, identity, NOW)
    assert again.written == 0
    assert all(row["outcome"] == "ok" for row in again.rows)
    return {
        "items": shots,
        "commit_s": commit_s,
        "first_delivery_s": deliver_s,
        **seconds,
        "processor_s": processor_s,
        "driver_mib": resident_mib(),
    }


def _commit_all(store: str, items: list[Item], spec: StageSpec, payload: Output) -> None:
    """Commit every item as workers do that are killed at the end; one object stands for all."""
    stage = spec.build()

    def commit(some: list[Item]) -> None:
        ledger = Ledger(open_store(store))
        for item in some:
            ledger.commit(
                stage.name, stage_key(stage, item), outcome="ok",
                files=dict.fromkeys((DELIVERED, STRIP, THUMBNAIL), Path(item.id)),
                counts={"frames_total": FRAMES, "frames_rendered": FRAMES, "frames_kept": 0},
                info={"network_s": 1.0, "enlargement": 1.0, "av_offset_s": 0.0},
                versions={"export3d-pipeline": "1.0", "python": "3.11"},
                started_at=NOW.isoformat(), seconds=1.0,
            )  # fmt: skip

    def put_nothing(_: Ledger, _stage: str, key: str, name: str, _path: Path) -> Output:
        return Output(name, payload.key, payload.size, digest([key, name]))

    with (
        patch.object(Ledger, "_store_file", put_nothing),
        ThreadPoolExecutor(_WRITERS) as writers,
    ):
        list(writers.map(commit, [items[first::_WRITERS] for first in range(_WRITERS)]))


def _deliver_unsigned(
    ledger: Ledger, plan: RenderPlan, done: list[Item], identity: SigningIdentity, payload: Output
) -> float:
    """Deliver for the first time, without the signing: that takes long, and `job` measures it."""

    def signed(_ledger: Ledger, rendered: Commit, name: str, *_: Any) -> Commit:
        output = Output(name, payload.key, payload.size, digest(rendered.key))
        return Commit(
            stage=delivery.SIGN, key=digest(rendered.key), outcome="ok", reason="",
            outputs=(output,), counts={}, parents=(), info={"manifest": "urn:c2pa:simulated"},
            versions={}, started_at="", seconds=0.0,
        )  # fmt: skip

    def put(desk: Any, _output: Output, key: str, _folder: Path) -> None:
        ledger.store.put(key, b"film")
        desk.written += 1

    began_s = time.monotonic()
    with (
        patch.object(delivery, "signed_delivery", signed),
        patch.object(delivery._Desk, "_put", put),  # noqa: SLF001  no copies of real films
    ):
        first = delivery.deliver(ledger, plan, done, CONFIG, identity, NOW)
    assert first.written == len(done)
    return time.monotonic() - began_s
