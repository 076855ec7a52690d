"""The same stages under every runner, and what only Ray has to endure."""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import ray.cloudpickle

from pipeline.errors import ConfigurationError
from pipeline.events import Event, ItemDone, StageProgress
from pipeline.runners import stream
from pipeline.runners.contract import RunError, Runner
from pipeline.runners.local import LocalRunner
from pipeline.runners.ray_runner import RayRunner
from pipeline.stage import (
    InterruptedStageError,
    Item,
    Outcome,
    Resources,
    Result,
    Stage,
    StageSpec,
    Work,
)
from storage.identity import JSON
from storage.ledger import Commit, Ledger
from storage.store import StoreError, open_store


@dataclass(frozen=True)
class Config:
    memo: str = ""
    """Folder in which a stage may leave notes, where a test has use for it."""


class Tricky(Stage):
    """Does what the item's "trick" says when it names this stage, else writes a small file."""

    version = 1

    def identity(self) -> JSON:
        return None

    def setup(self) -> None:
        self.prefix = f"{self.name}:"

    def process(self, batch: Sequence[Work]) -> list[Result]:
        return [self._one(work) for work in batch]

    def _one(self, work: Work) -> Result:
        stage, _, trick = str(work.item.inputs.get("trick", "")).partition(":")
        if stage == self.name:
            result = TRICKS[trick](self, work)
            if result is not None:
                return result
        path = work.folder / "out.txt"
        path.write_text(f"{self.prefix}{work.item.inputs['name']}")
        return Result(Outcome.OK, counts={"rows": 1}, files={"out.txt": path}, info={"n": 1})


def filtered(stage: Tricky, work: Work) -> Result:
    return Result(Outcome.FILTERED, "too_short", "not long enough")


def failed(stage: Tricky, work: Work) -> Result:
    return Result(Outcome.FAILED, "not_media")


def raises(stage: Tricky, work: Work) -> Result:
    raise KeyError(work.item.id)


def store_trouble(stage: Tricky, work: Work) -> Result:
    raise StoreError("the bucket is gone")


def dies(stage: Tricky, work: Work) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def first_time(stage: Tricky, work: Work) -> bool:
    try:
        (Path(stage.config.memo) / f"{stage.name}-{work.item.id}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def dies_once(stage: Tricky, work: Work) -> None:
    if first_time(stage, work):
        dies(stage, work)


def hangs_once(stage: Tricky, work: Work) -> None:
    if first_time(stage, work):
        time.sleep(600)


def reports(stage: Tricky, work: Work) -> None:
    for frame in range(30):
        work.report(frame, 30)
        time.sleep(0.1)


def works_until_told(stage: Tricky, work: Work) -> None:
    for frame in range(600):
        work.report(frame, 600)
        time.sleep(0.1)
        if work.should_stop():
            raise InterruptedStageError


def tells_threads(stage: Tricky, work: Work) -> Result:
    return Result(Outcome.OK, info={"threads": os.environ.get("OMP_NUM_THREADS")})


TRICKS = {
    action.__name__: action
    for action in (
        filtered,
        failed,
        raises,
        store_trouble,
        dies,
        dies_once,
        hangs_once,
        reports,
        works_until_told,
        tells_threads,
    )
}


class First(Tricky):
    name = "first"
    batch_size = 3


class Second(Tricky):
    name = "second"
    needs = ("first",)
    resources = Resources(cpus=0.5)


class Third(Tricky):
    name = "third"
    needs = ("first", "second")


class CannotSetUp(Tricky):
    name = "first"

    def setup(self) -> None:
        raise LookupError("the weights are not here: run fetch")


class DiesInSetup(Tricky):
    name = "first"

    def setup(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Impatient(Tricky):
    name = "first"
    patience_s = 1.0


class OnGpu(Tricky):
    name = "first"
    resources = Resources(gpus=64)


CHAIN = (First, Second, Third)
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests


def items(*tricks: str) -> list[Item]:
    return [
        Item(f"item-{n}", {"name": f"{n}", "trick": trick}, places={"path": f"/{n}"})
        for n, trick in enumerate(tricks)
    ]


class Bench:
    """A store and what one runner does with it."""

    def __init__(self, runner: Runner, folder: Path) -> None:
        self.runner = runner
        self.folder = folder
        folder.mkdir()
        self.url = str(folder / "store")
        self.ledger = Ledger(open_store(self.url))

    def run(
        self,
        work: Sequence[Item],
        chain: Sequence[type[Stage]] = CHAIN,
        run_id: str = "run",
    ) -> tuple[list[Item], list[Event]]:
        events: list[Event] = []
        specs = [StageSpec(stage, Config(str(self.folder))) for stage in chain]
        out = self.runner.run(
            specs, work, store_url=self.url, run_id=run_id, on_event=events.append
        )
        return out, events


@pytest.fixture(params=["local", "ray"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    if request.param == "local":
        return Bench(LocalRunner(), tmp_path / "bench")
    bench: Bench = request.getfixturevalue("ray_bench")
    return bench


@pytest.fixture
def ray_bench(embedded_ray: Path, tmp_path: Path) -> Bench:
    return Bench(RayRunner(), tmp_path / "bench")


def done(events: Sequence[Event]) -> list[ItemDone]:
    return [event for event in events if isinstance(event, ItemDone)]


def outcome(item: Item) -> str:
    return f"{item.ended.stage}:{item.ended.outcome}:{item.ended.reason}" if item.ended else "ok"


def test_runners_agree(embedded_ray: Path, tmp_path: Path) -> None:
    work = items("", "first:filtered", "second:failed", "third:raises", "", "first:raises", "")
    out, events = Bench(LocalRunner(), tmp_path / "local").run(work)
    out_ray, events_ray = Bench(RayRunner(), tmp_path / "ray").run(work)

    def commits(item: Item) -> list[Commit]:
        return [replace(commit, started_at="", seconds=0) for commit in item.commits.values()]

    def timeless(items: Sequence[Item]) -> list[object]:
        return [(item.id, item.inputs, item.places, outcome(item), commits(item)) for item in items]

    assert timeless(out_ray) == timeless(out)
    assert [outcome(item) for item in out] == [
        "ok",
        "first:filtered:too_short",
        "second:failed:not_media",
        "third:crashed:KeyError",
        "ok",
        "first:crashed:KeyError",
        "ok",
    ]
    assert sorted((e.stage, e.item_id, e.outcome, e.computed) for e in done(events_ray)) == sorted(
        (e.stage, e.item_id, e.outcome, e.computed) for e in done(events)
    )


def test_order_and_number_are_kept(bench: Bench) -> None:
    work = items(*[""] * 10)
    out, events = bench.run(work)
    assert [item.id for item in out] == [item.id for item in work]
    assert len(done(events)) == 30
    for item in work:  # a stage's end is told after that of the stage before
        assert [e.stage for e in done(events) if e.item_id == item.id] == [
            "first",
            "second",
            "third",
        ]


def test_second_run_computes_nothing(bench: Bench) -> None:
    work = items("", "second:failed", "")
    first, _ = bench.run(work)
    again, events = bench.run(work, run_id="again")
    assert again == first
    assert not any(event.computed for event in done(events))


def test_run_cut_short_goes_on_where_it_was(bench: Bench) -> None:
    work = items(*[""] * 6)
    bench.run(work[:3], CHAIN[:2])
    out, events = bench.run(work)
    assert all(len(item.commits) == 3 for item in out)
    assert len([event for event in done(events) if event.computed]) == 3 * 1 + 3 * 3


def test_a_run_that_is_to_stop_keeps_what_is_done_and_goes_on_later(bench: Bench) -> None:
    work = items(*[""] * 12)
    specs = [StageSpec(stage, Config(str(bench.folder))) for stage in CHAIN]
    seen: list[Event] = []
    out = bench.runner.run(
        specs,
        work,
        store_url=bench.url,
        run_id="stopped",
        on_event=seen.append,
        should_stop=lambda: len(done(seen)) >= 4,
    )
    assert [item.id for item in out] == [item.id for item in work]
    committed = sum(len(item.commits) for item in out)
    assert 4 <= committed == len(done(seen)) < 36
    assert {outcome(item) for item in out} <= {"ok", "run:crashed:cancelled"}
    assert any(item.ended for item in out)
    again, events = bench.run(work, run_id="again")
    assert {outcome(item) for item in again} == {"ok"}
    assert len([event for event in done(events) if event.computed]) == 36 - committed


def test_a_stage_that_takes_hours_is_told_to_stop_and_has_no_result(bench: Bench) -> None:
    work = items("first:works_until_told")
    specs = [StageSpec(stage, Config(str(bench.folder))) for stage in CHAIN]
    seen: list[Event] = []
    [out] = bench.runner.run(
        specs,
        work,
        store_url=bench.url,
        run_id="stopped",
        on_event=seen.append,
        should_stop=lambda: any(isinstance(event, StageProgress) for event in seen),
    )
    assert outcome(out) == "first:crashed:cancelled"
    assert not out.commits
    assert Ledger(open_store(bench.url)).committed("first") == set()


def test_nothing_to_do(bench: Bench) -> None:
    assert bench.run([]) == ([], [])


def test_store_trouble_ends_the_run_with_its_sentence(bench: Bench) -> None:
    with pytest.raises(StoreError) as caught:
        bench.run(items("", "second:store_trouble", ""))
    assert str(caught.value) == "the bucket is gone"


def test_trouble_in_setup_ends_the_run_with_its_sentence(bench: Bench) -> None:
    with pytest.raises(LookupError) as caught:
        bench.run(items(""), [CannotSetUp])
    assert str(caught.value) == "the weights are not here: run fetch"


def test_error_in_the_drivers_callback_ends_the_run(bench: Bench) -> None:
    def stop(event: Event) -> None:
        raise InterruptedError

    specs = [StageSpec(stage, Config()) for stage in CHAIN]
    with pytest.raises(InterruptedError):
        bench.runner.run(specs, items(*[""] * 5), store_url=bench.url, run_id="run", on_event=stop)
    out, _ = bench.run(items(*[""] * 5))
    assert [outcome(item) for item in out] == ["ok"] * 5


def test_ids_must_differ(bench: Bench) -> None:
    with pytest.raises(ValueError, match="item id 'item-0'"):
        bench.run(items("") * 2)


def test_poison_item_crashes_and_its_neighbours_do_not(ray_bench: Bench) -> None:
    out, events = ray_bench.run(items("", "first:dies", "", "second:dies", "", ""))
    assert [outcome(item) for item in out] == [
        "ok",
        "first:crashed:worker_died",
        "ok",
        "second:crashed:worker_died",
        "ok",
        "ok",
    ]
    assert not ray_bench.ledger.committed("third") & {item.id for item in out}
    assert len(ray_bench.ledger.committed("third")) == 4
    assert {e.item_id for e in done(events) if e.outcome is Outcome.CRASHED} == {
        "item-1",
        "item-3",
    }


def test_item_whose_worker_died_once_is_computed(ray_bench: Bench) -> None:
    out, _ = ray_bench.run(items("", "second:dies_once", ""))
    assert [outcome(item) for item in out] == ["ok"] * 3


def test_hung_worker_is_replaced(ray_bench: Bench) -> None:
    out, _ = ray_bench.run(items("first:hangs_once", "", ""), [Impatient])
    assert [outcome(item) for item in out] == ["ok"] * 3


def test_workers_that_die_while_setting_up_end_the_run(
    ray_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_DEATHS_PER_WORKER", 1)
    with pytest.raises(RunError, match="workers of stage first died"):
        ray_bench.run(items(""), [DiesInSetup])


def test_exception_of_a_signal_handler_ends_the_run_as_it_is(ray_bench: Bench) -> None:
    def stop(number: int, frame: object) -> None:
        raise BlockingIOError("stop")

    before = signal.signal(signal.SIGUSR1, stop)
    alarm = threading.Timer(3, os.kill, [os.getpid(), signal.SIGUSR1])
    try:
        alarm.start()
        with pytest.raises(BlockingIOError, match="stop"):
            ray_bench.run(items("first:hangs_once"), [First])
    finally:
        alarm.cancel()
        signal.signal(signal.SIGUSR1, before)


def test_progress_within_an_item_comes_home(ray_bench: Bench) -> None:
    _, events = ray_bench.run(items("first:reports"), [First])
    told = [event for event in events if isinstance(event, StageProgress)]
    assert told
    assert {(event.stage, event.item_id, event.total) for event in told} == {
        ("first", "item-0", 30)
    }
    assert isinstance(events[-1], ItemDone)


def test_threads_follow_the_stages_cores(ray_bench: Bench) -> None:
    out, _ = ray_bench.run(items("first:tells_threads"), [First])
    assert out[0].commits["first"].info == {"threads": "1"}


def test_stage_that_asks_for_more_than_there_is(ray_bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="stage first asks for 64 GPU"):
        ray_bench.run(items(""), [OnGpu])


def test_workers_planned_for_lost_machines_make_room(
    ray_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first plan counts on a second machine; then only the real one is left."""
    [real] = stream.nodes()
    plans = iter([[real, real]] * 2)
    monkeypatch.setattr(stream, "nodes", lambda: next(plans, [real]))
    monkeypatch.setattr(stream, "_STARVED_S", 3.0)
    monkeypatch.setattr(stream, "_REPLAN_S", 1.0)
    monkeypatch.setattr(First, "resources", Resources(cpus=real.cpus))
    monkeypatch.setattr(Second, "resources", Resources(cpus=real.cpus / 2))
    out, _ = ray_bench.run(items(*[""] * 20), [First, Second])
    assert [outcome(item) for item in out] == ["ok"] * 20


def test_cluster_without_a_place_ends_the_run(
    ray_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    [real] = stream.nodes()
    monkeypatch.setattr(stream, "nodes", lambda: [replace(real, cpus=real.cpus * 8)])
    monkeypatch.setattr(stream, "_STUCK_S", 3.0)
    monkeypatch.setattr(First, "resources", Resources(cpus=real.cpus * 8))
    with pytest.raises(RunError, match="no place for a worker"):
        ray_bench.run(items(""), [First])


def test_no_scratch_of_the_workers_is_left(ray_bench: Bench, embedded_ray: Path) -> None:
    ray_bench.run(items("", "first:dies_once", ""))
    assert not list(embedded_ray.glob("*/"))
