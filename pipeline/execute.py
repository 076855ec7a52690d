"""How one stage treats items: reuse or compute, check, commit. The same code under every runner."""

import importlib.metadata
import platform
import re
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from pipeline.clock import utc_now
from pipeline.events import Event, ItemDone, StageProgress
from pipeline.scratch import Scratch
from pipeline.stage import (
    CANCELLED,
    Ended,
    InterruptedStageError,
    Item,
    Outcome,
    Result,
    ShouldStop,
    Stage,
    StageSpec,
    Work,
    cancelled,
    chain_keys,
    never,
    stage_key,
)
from storage.identity import canonical_json, check_name
from storage.ledger import Commit, Ledger
from storage.store import StoreError, open_store

MAX_ATTEMPTS = 3
"""So often may an item take its worker with it, within one run, before it counts as crashed."""

OnEvent = Callable[[Event], None]

_REPORT_EVERY_S = 0.2
_DISTRIBUTION = "export3d-pipeline"


class StageWorker:
    """One stage in one process. Loads nothing until there is something to compute."""

    def __init__(self, spec: StageSpec, store_url: str, run_id: str) -> None:
        self.stage = spec.build()
        self._ledger = Ledger(open_store(store_url))
        self._run_id = run_id
        self._scratch = Scratch()
        self._versions = _versions(self.stage)
        self._is_set_up = False
        self._should_stop = never

    def run(
        self, items: Sequence[Item], on_event: OnEvent, should_stop: ShouldStop = never
    ) -> list[Item]:
        """Take at most `batch_size` items one stage further; same items out, in the same order.

        An item that this run has begun before is computed by itself: whatever ended its worker
        then must not take neighbours along again. Raises StoreError, and whatever setup() raises.
        """
        self._should_stop = should_stop
        out: dict[str, Item] = {}
        together: list[Item] = []
        for item in items:
            commit = None if item.ended else self._ledger.find(self.stage.name, self._key(item))
            if item.ended:
                out[item.id] = item
            elif commit:
                out[item.id] = item.after(commit)
                on_event(_reused(item, commit))
            else:
                attempt = self._begin(item)
                if attempt == 1:
                    together.append(item)
                elif attempt <= MAX_ATTEMPTS:
                    out |= self._compute([item], on_event)
                else:
                    detail = f"its worker died or hung {MAX_ATTEMPTS} times in this run"
                    died = Result(Outcome.CRASHED, "worker_died", detail)
                    out[item.id] = self._crashed(item, died, 0.0, on_event)
        if together:
            out |= self._compute(together, on_event)
        return [out[item.id] for item in items]

    def close(self) -> None:
        """Close the stage, where it was set up, and remove the scratch folder."""
        if self._is_set_up:
            self._is_set_up = False
            self.stage.close()
        self._scratch.close()
        self._ledger.pack()

    def _key(self, item: Item) -> str:
        return stage_key(self.stage, item)

    def _begin(self, item: Item) -> int:
        if not self._is_set_up:
            self.stage.setup()
            self._is_set_up = True
        return self._ledger.begin_attempt(self.stage.name, self._key(item), self._run_id)

    def _compute(self, items: Sequence[Item], on_event: OnEvent) -> dict[str, Item]:
        started_at = utc_now()
        start = time.monotonic()
        out = {}
        with ExitStack() as folders:
            try:
                results = self._process(items, folders, on_event)
            except InterruptedStageError:
                return {item.id: self._interrupted(item, on_event) for item in items}
            seconds = (time.monotonic() - start) / len(items)  # each item's share of the batch
            for item, result in zip(items, results, strict=True):
                fault = _fault(result)
                if fault:
                    result = Result(Outcome.CRASHED, "bad_result", fault)  # noqa: PLW2901  replaced
                if result.outcome is Outcome.CRASHED:
                    out[item.id] = self._crashed(item, result, seconds, on_event)
                else:
                    commit = self._commit(item, result, started_at, seconds)
                    out[item.id] = item.after(commit)
                    on_event(replace(_reused(item, commit), computed=True))
        return out

    def _process(
        self, items: Sequence[Item], folders: ExitStack, on_event: OnEvent
    ) -> list[Result]:
        """Results of process(); after an exception each item of the batch gets a try by itself."""
        works = [
            Work(
                item=item,
                ledger=self._ledger,
                folder=folders.enter_context(self._scratch.item_folder()),
                report=_reporter(self.stage, item.id, on_event),
                should_stop=self._should_stop,
            )
            for item in items
        ]
        try:
            results = self.stage.process(works)
            if len(results) != len(works):
                raise ValueError(f"process() gave {len(results)} results for {len(works)} items")
        except (StoreError, InterruptedStageError):
            raise
        except Exception as error:  # noqa: BLE001  the one border where a bug becomes an outcome
            if len(items) == 1:
                return [Result(Outcome.CRASHED, type(error).__name__, _describe(error))]
            return [self._process([item], folders, on_event)[0] for item in items]
        return results

    def _commit(self, item: Item, result: Result, started_at: str, seconds: float) -> Commit:
        detail = {"detail": result.detail} if result.detail else {}
        return self._ledger.commit(
            self.stage.name,
            self._key(item),
            outcome=result.outcome.value,
            reason=result.reason,
            files=result.files,
            counts=result.counts,
            parents=[item.commits[need].key for need in self.stage.needs],
            info={**result.info, **detail},
            versions=self._versions,
            started_at=started_at,
            seconds=round(seconds, 6),
        )

    def _crashed(self, item: Item, result: Result, seconds: float, on_event: OnEvent) -> Item:
        """End the item without a commit: the next run tries again."""
        name, reason = self.stage.name, result.reason
        on_event(ItemDone(name, item.id, Outcome.CRASHED, reason, computed=True, seconds=seconds))
        return replace(item, ended=Ended(name, Outcome.CRASHED, reason, result.detail))

    def _interrupted(self, item: Item, on_event: OnEvent) -> Item:
        name = self.stage.name
        on_event(ItemDone(name, item.id, Outcome.CRASHED, CANCELLED, computed=False, seconds=0.0))
        return cancelled(item, name)


def resolve(
    ledger: Ledger, stages: Sequence[Stage], items: Sequence[Item], on_event: OnEvent
) -> tuple[list[Item], list[Item]]:
    """Return (items with nothing left to compute, items with something to compute).

    Both carry the commits found so far, of an unbroken chain from the first stage on. One listing
    per stage, and the records: no stage is set up, no weights are loaded.
    """
    chains = [(item, chain_keys(stages, item)) for item in items]
    found = {
        stage.name: ledger.find_all(stage.name, {keys[stage.name] for _, keys in chains})
        for stage in stages
    }
    done: list[Item] = []
    pending: list[Item] = []
    for item, keys in chains:
        walked, is_done = _walk(item, keys, found, on_event)
        (done if is_done else pending).append(walked)
    return done, pending


def _walk(
    item: Item,
    keys: Mapping[str, str],
    found: Mapping[str, Mapping[str, Commit]],
    on_event: OnEvent,
) -> tuple[Item, bool]:
    """Return the item with the commits of its unbroken chain, and whether nothing is left."""
    earlier = {name: commit for name, commit in item.commits.items() if name not in keys}
    item = replace(item, commits=earlier)
    for name, key in keys.items():
        if item.ended:
            break
        commit = found[name].get(key)
        if commit is None:
            return item, False
        on_event(_reused(item, commit))
        item = item.after(commit)
    return item, True


def _reused(item: Item, commit: Commit) -> ItemDone:
    return ItemDone(
        stage=commit.stage,
        item_id=item.id,
        outcome=Outcome(commit.outcome),
        reason=commit.reason,
        computed=False,
        seconds=commit.seconds,
    )


def _reporter(stage: Stage, item_id: str, on_event: OnEvent) -> Callable[[int, int], None]:
    last_s = -_REPORT_EVERY_S

    def report(done: int, total: int) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= _REPORT_EVERY_S or done >= total:
            last_s = now_s
            on_event(StageProgress(stage.name, item_id, done, total, stage.unit))

    return report


def _fault(result: Result) -> str:
    """What keeps a result from being committed; empty when nothing does."""
    try:
        canonical_json(dict(result.info))
        canonical_json(dict(result.counts))
        for name, path in result.files.items():
            check_name(name, "output name")
            if not path.is_file():
                return f"output {name!r} was not written"
    except (TypeError, ValueError) as error:
        return str(error)
    return ""


def _describe(error: Exception) -> str:
    """Type, message and last places of an exception: short, and without what may be a secret."""
    message = " ".join(str(error).split())
    message = re.sub(r"://[^/\s@]*@", "://", message)  # user:password@
    message = re.sub(r"(://\S*?)\?\S*", r"\1?...", message)  # signatures in query strings
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))
    return f"{type(error).__name__}: {message[:300]} ({places})"


def _versions(stage: Stage) -> dict[str, str]:
    """Versions by distribution, without local parts such as +cpu, which depend on the platform."""
    names = (_DISTRIBUTION, *stage.libraries)
    found = {name: importlib.metadata.version(name).partition("+")[0] for name in names}
    return {**found, "python": platform.python_version()}
