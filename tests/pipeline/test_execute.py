import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.events import Event, ItemDone, StageProgress
from pipeline.execute import MAX_ATTEMPTS, StageWorker, resolve
from pipeline.stage import Item, Outcome, Result, Stage, StageSpec, Work, chain_keys, stage_key
from storage.identity import JSON
from storage.ledger import Ledger
from storage.store import StoreError, open_store

Action = Callable[[Work], Result]


@dataclass(frozen=True)
class Config:
    actions: dict[str, Action]
    sizes: list[int]


class Scripted(Stage):
    """Does for each item what the test says; notes the size of each batch."""

    name = "scripted"
    version = 1
    batch_size = 4

    def identity(self) -> JSON:
        return None

    def process(self, batch: Sequence[Work]) -> list[Result]:
        self.config.sizes.append(len(batch))
        return [
            self.config.actions.get(work.item.id, lambda _: Result(Outcome.OK))(work)
            for work in batch
        ]


class Bench:
    """A store, a worker, and what it has said."""

    def __init__(self, folder: Path) -> None:
        self.url = str(folder)
        self.ledger = Ledger(open_store(self.url))
        self.events: list[Event] = []
        self.sizes: list[int] = []

    def run(self, ids: str, run_id: str = "run", **actions: Action) -> dict[str, Item]:
        spec = StageSpec(Scripted, Config(actions, self.sizes))
        worker = StageWorker(spec, self.url, run_id)
        try:
            out = worker.run([Item(name, {"name": name}) for name in ids], self.events.append)
        finally:
            worker.close()
        assert [item.id for item in out] == list(ids)
        return {item.id: item for item in out}


@pytest.fixture
def bench(tmp_path: Path, scratch: Path) -> Bench:
    return Bench(tmp_path / "store")


def ended(item: Item) -> tuple[Outcome, str]:
    assert item.ended is not None
    return item.ended.outcome, item.ended.reason


def raises(error: Exception) -> Action:
    def action(work: Work) -> Result:
        raise error

    return action


def test_outputs_are_committed_with_parents_versions_and_counts(bench: Bench) -> None:
    def write(work: Work) -> Result:
        path = work.folder / "out.txt"
        path.write_text("bytes")
        return Result(Outcome.OK, counts={"frames": 3}, files={"out.txt": path}, info={"x": [1]})

    commit = bench.run("a", a=write)["a"].commits["scripted"]
    assert (commit.counts, commit.info) == ({"frames": 3}, {"x": [1]})
    assert set(commit.versions) == {"export3d-pipeline", "python"}
    assert bench.ledger.fetch(commit.output("out.txt"), Path(bench.url)).read_text() == "bytes"


def test_filtered_and_failed_are_remembered_with_their_sentence(bench: Bench) -> None:
    reject: dict[str, Action] = {
        "a": lambda _: Result(Outcome.FILTERED, "too_short", "2 frames are fewer than 5"),
        "b": lambda _: Result(Outcome.FAILED, "not_media", "no container"),
    }
    first = bench.run("ab", **reject)
    again = bench.run("ab", "other-run", a=raises(AssertionError()), b=raises(AssertionError()))
    assert again == first
    assert ended(again["a"]) == (Outcome.FILTERED, "too_short")
    assert again["b"].ended is not None
    assert again["b"].ended.detail == "no container"
    assert [e.computed for e in bench.events if isinstance(e, ItemDone)] == [True] * 2 + [False] * 2


def test_exception_crashes_its_item_alone_and_is_tried_again_by_the_next_run(bench: Bench) -> None:
    error = OSError("cannot open https://user:secret@host/film?signature=hidden now")
    out = bench.run("abcd", c=raises(error))
    assert ended(out["c"]) == (Outcome.CRASHED, "OSError")
    assert out["c"].ended is not None
    assert "test_execute.py" in out["c"].ended.detail
    assert "secret" not in out["c"].ended.detail
    assert "hidden" not in out["c"].ended.detail
    assert not any(out[name].ended for name in "abd")
    assert bench.sizes == [4, 1, 1, 1, 1]
    assert bench.run("abcd", "next")["c"].ended is None


@pytest.mark.parametrize(
    "result",
    [
        Result(Outcome.OK, info={"pose": object()}),  # type: ignore[dict-item]  # the point
        Result(Outcome.OK, info={"loss": float("nan")}),
        Result(Outcome.OK, files={"out.txt": Path("/nowhere/out.txt")}),
        Result(Outcome.OK, files={"Not A Name": Path(__file__)}),
    ],
)
def test_result_that_cannot_be_committed_crashes_its_item(bench: Bench, result: Result) -> None:
    out = bench.run("ab", a=lambda _: result)
    assert ended(out["a"]) == (Outcome.CRASHED, "bad_result")
    assert out["b"].ended is None


def test_counts_in_are_counts_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scripted, "process", lambda _, batch: [Result(Outcome.OK)] * 2)
    assert {ended(item) for item in bench.run("abc").values()} == {(Outcome.CRASHED, "ValueError")}


def test_store_trouble_is_not_the_items_fault(bench: Bench) -> None:
    with pytest.raises(StoreError, match="no space"):
        bench.run("ab", a=raises(StoreError("no space")))


def test_attempts_end_and_belong_to_a_run(bench: Bench) -> None:
    for _ in range(MAX_ATTEMPTS):
        with pytest.raises(KeyboardInterrupt):  # stands for a death: nothing is committed
            bench.run("a", a=raises(KeyboardInterrupt()))  # type: ignore[arg-type]  # same
    assert ended(bench.run("a")["a"]) == (Outcome.CRASHED, "worker_died")
    assert bench.run("a", "other-run")["a"].ended is None


def test_item_begun_before_is_computed_alone(bench: Bench) -> None:
    with pytest.raises(KeyboardInterrupt):
        bench.run("ab", a=raises(KeyboardInterrupt()))  # type: ignore[arg-type]  # as above
    bench.sizes.clear()
    bench.run("abcd")
    assert bench.sizes == [1, 1, 2]


def test_ended_items_pass_through(bench: Bench) -> None:
    item = bench.run("a", a=lambda _: Result(Outcome.FILTERED, "x"))["a"]
    spec = StageSpec(Scripted, Config({"a": raises(AssertionError())}, bench.sizes))
    worker = StageWorker(spec, bench.url, "run")
    assert worker.run([item], bench.events.append) == [item]
    worker.close()


def test_reports_come_as_events_and_are_thinned_out(bench: Bench) -> None:
    def report(work: Work) -> Result:
        for frame in range(1000):
            work.report(frame + 1, 1000)
        return Result(Outcome.OK)

    bench.run("a", a=report)
    told = [event for event in bench.events if isinstance(event, StageProgress)]
    assert told[-1] == StageProgress("scripted", "a", 1000, 1000)
    assert len(told) < 100


def test_scratch_is_empty_for_each_item_and_gone_afterwards(bench: Bench, scratch: Path) -> None:
    seen = []

    def litter(work: Work) -> Result:
        seen.append(work.folder)
        assert not list(work.folder.iterdir())
        (work.folder / "litter").write_text("x")
        return Result(Outcome.OK)

    bench.run("ab", a=litter, b=litter)
    assert len(set(seen)) == 2
    assert not list(scratch.iterdir())


def test_scratch_of_a_killed_process_is_removed_and_that_of_a_living_one_kept(
    bench: Bench, scratch: Path
) -> None:
    code = (
        "from pipeline.scratch import Scratch; s = Scratch(); print(s.folder, flush=True); input()"
    )
    owners = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        folders = [Path(owner.stdout.readline().strip()) for owner in owners if owner.stdout]
        assert all(folder.is_dir() for folder in folders)
        os.kill(owners[0].pid, signal.SIGKILL)
        owners[0].wait(20)
        bench.run("a")
        assert [folder.is_dir() for folder in folders] == [False, True]
    finally:
        for owner in owners:
            owner.kill()
            owner.communicate(timeout=20)


@dataclass(frozen=True)
class Sized:
    size: int


class First(Scripted):
    name = "first"

    def identity(self) -> JSON:
        return {"size": self.config.size}


class Second(First):
    name = "second"
    needs = ("first",)


class Apart(First):
    name = "apart"


def test_keys_of_a_chain_are_known_before_it_runs_and_follow_what_they_depend_on() -> None:
    def keys(first: int, second: int, digest: str = "d") -> dict[str, str]:
        chain = [First(Sized(first)), Second(Sized(second)), Apart(Sized(1))]
        return chain_keys(chain, Item("any", {"film": digest}, places={"path": f"/{first}"}))

    base = keys(1, 1)
    changed = {name for name, key in keys(2, 1).items() if key != base[name]}
    assert changed == {"first", "second"}
    assert {name for name, key in keys(1, 2).items() if key != base[name]} == {"second"}
    assert {name for name, key in keys(1, 1, "e").items() if key != base[name]} == set(base)
    assert keys(1, 1) == base


def test_need_that_does_not_come_before_is_an_error() -> None:
    with pytest.raises(ValueError, match="second needs first"):
        chain_keys([Second(Sized(1)), First(Sized(1))], Item("a", {}))


def test_resolve_finds_the_unbroken_part_of_a_chain(bench: Bench) -> None:
    class Tail(Scripted):
        name = "tail"
        needs = ("scripted",)

    stages = [Scripted(Config({}, [])), Tail(Config({}, []))]
    half, *_ = bench.run("abc", c=lambda _: Result(Outcome.FAILED, "broken")).values()
    events: list[Event] = []
    items = [Item(name, {"name": name}) for name in "abcd"]
    done, pending = resolve(bench.ledger, stages, items, events.append)
    assert [item.id for item in done] == ["c"]
    assert {item.id: list(item.commits) for item in pending} == {
        "a": ["scripted"],
        "b": ["scripted"],
        "d": [],
    }
    assert half.commits["scripted"].key == stage_key(stages[0], items[0])
    assert [(e.item_id, e.computed) for e in events if isinstance(e, ItemDone)] == [
        ("a", False),
        ("b", False),
        ("c", False),
    ]
