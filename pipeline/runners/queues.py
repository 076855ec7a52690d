"""The queues before the stages, and which batch is due next."""

import math
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pipeline.stage import Item, Stage, cancelled


@dataclass(frozen=True)
class Batch:
    """Items given out together for one stage."""

    index: int
    """Of the stage in the chain."""
    stage: Stage
    items: list[Item]


class Queues:
    """Items before each stage, in work, and done."""

    def __init__(self, stages: Sequence[Stage], items: Sequence[Item]) -> None:
        self._stages = stages
        self._waiting: list[deque[Item]] = [deque() for _ in stages]
        self._in_work = [0] * len(stages)
        self.done: list[Item] = []
        self.left = len(items)
        """Items that are not done."""
        self._is_draining = False
        for item in items:
            first = next(i for i, stage in enumerate(stages) if stage.name not in item.commits)
            self._waiting[first].append(item)

    def take(self, names: Collection[str], workers: Mapping[str, int]) -> Batch | None:
        """The batch that is due for a worker that can run these stages, if there is one.

        A full batch of the latest stage comes first, so that what has begun gets finished; else
        what there is of the earliest, to fill the batches after it. No stage is fed beyond what
        the workers of the next one (`workers` counts them by stage) take up soon.
        """
        able = [
            index
            for index, stage in enumerate(self._stages)
            if stage.name in names and self._waiting[index] and self._has_room(index + 1, workers)
        ]
        full = (index for index in reversed(able) if self._is_full(index))
        index = next(full, able[0] if able else None)
        if index is None:
            return None
        stage, waiting = self._stages[index], self._waiting[index]
        share = len(waiting)
        if self._is_last(index):  # shared out: nobody waits for one worker with a whole batch
            share = math.ceil(share / workers[stage.name])
        items = [waiting.popleft() for _ in range(min(stage.batch_size, share))]
        self._in_work[index] += len(items)
        return Batch(index, stage, items)

    def drain(self) -> None:
        """From now on give out nothing: what waits is cancelled, what is in work is waited for."""
        self._is_draining = True
        for waiting in self._waiting:
            self._finish([cancelled(item) for item in waiting])
            waiting.clear()

    def put_back(self, batch: Batch) -> None:
        """The batch's worker was lost: its items are next again."""
        self._in_work[batch.index] -= len(batch.items)
        if self._is_draining:
            self._finish([cancelled(item) for item in batch.items])
        else:
            self._waiting[batch.index].extendleft(reversed(batch.items))

    def advance(self, batch: Batch, items: Sequence[Item]) -> None:
        """The batch has ended its stage as these items."""
        if [item.id for item in items] != [item.id for item in batch.items]:
            raise ValueError(f"stage {batch.stage.name} gave other items back than it got")
        self._in_work[batch.index] -= len(items)
        for item in items:
            if item.ended or batch.index + 1 == len(self._stages):
                self._finish([item])
            elif self._is_draining:
                self._finish([cancelled(item)])
            else:
                self._waiting[batch.index + 1].append(item)

    def _finish(self, items: Sequence[Item]) -> None:
        self.done += items
        self.left -= len(items)

    def _is_full(self, index: int) -> bool:
        """Whether a batch of this stage is full, or nothing can come any more to fill it."""
        return len(self._waiting[index]) >= self._stages[index].batch_size or self._is_last(index)

    def _is_last(self, index: int) -> bool:
        """Whether what waits before this stage is all that ever will."""
        return not any(self._waiting[i] or self._in_work[i] for i in range(index))

    def _has_room(self, index: int, workers: Mapping[str, int]) -> bool:
        if index == len(self._stages):
            return True
        stage = self._stages[index]
        coming = len(self._waiting[index]) + self._in_work[index - 1]
        return coming < stage.batch_size * (1 + workers[stage.name])
