"""Streams items through the stages on a pool of Ray actors.

The driver keeps the queues and gives batches to idle workers; Ray places the workers on machines,
starts them, and says when one has died. What is finished is in the ledger, so any batch may be
given out again at any time.
"""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import ray
from ray.exceptions import RayError, RayTaskError

from pipeline.errors import ConfigurationError
from pipeline.execute import OnEvent
from pipeline.runners.contract import RunError
from pipeline.runners.embedded import nodes
from pipeline.runners.fit import Pool, fit
from pipeline.runners.queues import Batch, Queues
from pipeline.runners.worker import PoolWorker
from pipeline.stage import Item, ShouldStop, Stage, StageSpec, never

_GIB = 1024**3
_TICK_S = 0.5
_REPLAN_S = 5.0
_STARVED_S = 15.0  # a pool that waits so long for a worker is made room for; doubles each time
_STUCK_S = 600.0  # so long may a cluster have no place for any worker that is needed
_CLOSE_S = 10.0
_MOST_POLLS_PER_S = 200  # questions to workers, of all workers together
_DEATHS_PER_WORKER = 10  # in a row, without one finished batch: then it is not the items' fault


_WORKER: Any = ray.remote(concurrency_groups={"watch": 1})(PoolWorker)  # type: ignore[call-overload]  # Ray's types lack it


@dataclass(eq=False)
class _Hand:
    """A worker process as the driver sees it."""

    actor: Any
    pool: Pool
    call: Any
    """The answer it owes: of open() at first, then of run(); None while it is idle."""
    sign_s: float
    """When it last gave a sign of life, or was given something to do."""
    batch: Batch | None = None
    poll: Any = None
    is_open: bool = False
    is_told: bool = False
    """To stop."""


class Stream:
    """One run on a connected Ray. A context manager: after the block its workers are gone."""

    def __init__(
        self,
        specs: Sequence[StageSpec],
        stages: Sequence[Stage],
        items: Sequence[Item],
        *,
        store_url: str,
        run_id: str,
        on_event: OnEvent,
    ) -> None:
        self._stages = stages
        self._specs = {stage.name: spec for stage, spec in zip(stages, specs, strict=True)}
        self._store_url = store_url
        self._run_id = run_id
        self._on_event = on_event
        self._queues = Queues(stages, items)
        self._pools = fit(stages, nodes(), most=len(items))
        self._hands: list[_Hand] = []
        self._starved_s = _STARVED_S
        self._deaths: Counter[tuple[str, ...]] = Counter()
        self._hired_s = -math.inf
        self._polled_s = self._moved_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error_type: object, *_: object) -> None:
        if error_type is None:
            closing = [hand.actor.close.remote() for hand in self._hands if hand.is_open]
            if closing:
                ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_S)
        for hand in self._hands:
            ray.kill(hand.actor)

    def run(self, should_stop: ShouldStop = never) -> list[Item]:
        """Return all items, each through all stages or ended."""
        try:
            while self._queues.left:
                if should_stop():
                    self._drain()
                if time.monotonic() - self._hired_s > _REPLAN_S:
                    self._hire()
                self._give()
                self._receive()
                self._poll()
                self._dismiss_silent()
        except SystemError as error:  # so Ray wraps what a signal handler raises within a wait
            raise error.__cause__ or error from None
        return self._queues.done

    def _drain(self) -> None:
        self._queues.drain()
        for hand in self._hands:
            if not hand.is_told:
                hand.is_told = True
                hand.actor.stop.options(concurrency_group="watch").remote()

    # Workers come and go.

    def _hire(self) -> None:
        """Bring the pools to their size on the machines there are.

        Each pool gets its first worker before others get more, so that none waits for its place.
        """
        self._hired_s = time.monotonic()
        with contextlib.suppress(ConfigurationError):  # a lost node may come back: keep the plan
            self._pools = fit(self._stages, nodes(), most=self._queues.left)
        starved = [pool.stages for pool in self._pools if self._is_starved(pool)]
        if starved:
            self._make_room()
        for pool in sorted(self._pools, key=lambda pool: pool.stages not in starved):
            if not self._hands_of(pool):
                self._start(pool)
        for pool in self._pools:
            others = [other for other in self._pools if other is not pool]
            if all(any(hand.is_open for hand in self._hands_of(other)) for other in others):
                for _ in range(pool.workers - len(self._hands_of(pool))):
                    self._start(pool)

    def _make_room(self) -> None:
        """Let go of workers that have nothing to do or no place yet; new ones fit the new plan.

        They may have been sized for machines that are gone.
        """
        self._starved_s *= 2
        for hand in list(self._hands):
            if hand.call is None or not hand.is_open:
                self._let_go(hand)

    def _is_starved(self, pool: Pool) -> bool:
        hands, limit_s = self._hands_of(pool), time.monotonic() - self._starved_s
        return bool(hands) and all(not h.is_open and h.sign_s < limit_s for h in hands)

    def _hands_of(self, pool: Pool) -> list[_Hand]:
        return [hand for hand in self._hands if hand.pool.stages == pool.stages]

    def _start(self, pool: Pool) -> None:
        actor = _WORKER.options(
            num_cpus=pool.cpus,
            num_gpus=pool.gpus,
            memory=int(pool.memory_gib * _GIB),
            max_restarts=0,  # a new one is hired: the batch need not wait for it
            max_task_retries=0,
            runtime_env={"env_vars": _threads(pool)},
        ).remote()
        specs = {name: self._specs[name] for name in pool.stages}
        call = actor.open.remote(specs, self._store_url, self._run_id)
        self._hands.append(_Hand(actor, pool, call, sign_s=time.monotonic()))

    def _let_go(self, hand: _Hand) -> None:
        self._hands.remove(hand)
        ray.kill(hand.actor)
        if hand.batch is not None:
            self._queues.put_back(hand.batch)

    def _bury(self, hand: _Hand, why: str) -> None:
        """The worker is dead or as good as dead: another one gets its batch."""
        self._let_go(hand)
        names = hand.pool.stages
        self._deaths[names] += 1
        if self._deaths[names] > _DEATHS_PER_WORKER * hand.pool.workers:
            raise RunError(
                f"{self._deaths[names]} workers of stage {', '.join(names)} died one after the "
                f"other without finishing anything; the last: {why}"
            )
        self._hire()

    # Batches go out, answers come in.

    def _give(self) -> None:
        workers = Counter(name for hand in self._hands for name in hand.pool.stages)
        for hand in self._hands:
            if hand.call is None and (batch := self._queues.take(hand.pool.stages, workers)):
                hand.batch = batch
                hand.call = hand.actor.run.remote(batch.stage.name, batch.items)
                hand.sign_s = self._moved_s = time.monotonic()

    def _receive(self) -> None:
        owed = {hand.call: hand for hand in self._hands if hand.call is not None}
        owed |= {hand.poll: hand for hand in self._hands if hand.poll is not None}
        ray.wait(list(owed), num_returns=1, timeout=_TICK_S)
        answers, _ = ray.wait(list(owed), num_returns=len(owed), timeout=0)
        for answer in answers:
            hand = owed[answer]
            try:
                value = ray.get(answer, timeout=_STUCK_S)
            except RayTaskError as error:
                error.cause.add_note(str(error))  # the traceback over there
                raise error.cause from None
            except RayError as error:
                if hand in self._hands:
                    self._bury(hand, str(error).partition("\n")[0])
                continue
            self._take_in(hand, answer, value)

    def _take_in(self, hand: _Hand, answer: Any, value: Any) -> None:
        if answer == hand.poll:
            hand.poll = None
            waited_for = {item.id for item in hand.batch.items} if hand.batch else set()
            for event in value:
                if event.item_id in waited_for:  # else it is news of a batch that has ended since
                    hand.sign_s = time.monotonic()
                    self._on_event(event)
            return
        hand.sign_s = self._moved_s = time.monotonic()
        hand.call, batch, hand.batch = None, hand.batch, None
        if batch is None:
            hand.is_open = True
            self._hired_s = -math.inf  # other pools may grow now
            return
        self._deaths.pop(hand.pool.stages, None)
        items, events = value
        self._queues.advance(batch, items)
        for event in events:
            self._on_event(event)

    def _poll(self) -> None:
        """Ask busy workers how far they are, with at most one question open to each."""
        busy = [hand for hand in self._hands if hand.batch is not None]
        if time.monotonic() - self._polled_s < max(_TICK_S, len(busy) / _MOST_POLLS_PER_S):
            return
        self._polled_s = time.monotonic()
        for hand in busy:
            if hand.poll is None:
                hand.poll = hand.actor.progress.options(concurrency_group="watch").remote()

    def _dismiss_silent(self) -> None:
        now_s = time.monotonic()
        busy = [hand for hand in self._hands if hand.batch is not None]
        for hand in busy:
            if hand.batch and now_s - hand.sign_s > hand.batch.stage.patience_s:
                self._bury(hand, f"no sign of life for {hand.batch.stage.patience_s:g} s")
        if not busy and now_s - self._moved_s > _STUCK_S:
            raise RunError(
                f"the Ray cluster has had no place for a worker for {_STUCK_S:g} s: other jobs "
                "may hold its cores, GPUs or memory"
            )


def _threads(pool: Pool) -> dict[str, str]:
    """Threads of a worker; waiting ones sleep, for on a shared machine spinning slows them all."""
    threads = str(pool.threads)
    return {
        "OMP_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "PASSIVE",
        "OPENCV_FOR_THREADS_NUM": threads,
    }
