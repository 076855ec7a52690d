"""The other way: the stages as Ray Data operators, one block a batch. Measured, not shipped."""

import logging
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import ray.data

from pipeline.events import ItemDone
from pipeline.execute import OnEvent, StageWorker
from pipeline.runners.contract import begin_run, end_run
from pipeline.runners.embedded import connected
from pipeline.stage import Item, StageSpec

CPUS_PER_ACTOR = 0.25  # with a whole core each, the tasks that read the input never get one


class Operator:
    def __init__(self, spec: StageSpec, store_url: str, run_id: str) -> None:
        self._worker = StageWorker(spec, store_url, run_id)

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        rows = [pickle.loads(row) for row in block["row"]]
        events: list[Any] = []
        items = self._worker.run([item for item, _ in rows], events.append)
        return block_of(
            (item, [*before, *(e for e in events if e.item_id == item.id)])
            for item, (_, before) in zip(items, rows, strict=True)
        )


class RayDataRunner:
    def __init__(self, address: str | None = None, actors: tuple[int, int] = (1, 1)) -> None:
        self._address = address
        self._actors = actors

    def run(
        self,
        stages: Sequence[StageSpec],
        items: Sequence[Item],
        *,
        store_url: str,
        run_id: str,
        on_event: OnEvent,
    ) -> list[Item]:
        built, done, pending = begin_run(stages, items, store_url, on_event)
        with connected(self._address):
            ray.data.DataContext.get_current().enable_progress_bars = False
            logging.getLogger("ray.data").setLevel(logging.ERROR)
            data = ray.data.from_items(
                [{"row": pickle.dumps((item, []))} for item in pending],
                override_num_blocks=len(pending),
            )
            for spec, stage in zip(stages, built, strict=True):
                data = data.map_batches(
                    Operator,
                    fn_constructor_args=(spec, store_url, run_id),
                    compute=ray.data.ActorPoolStrategy(
                        min_size=self._actors[0], max_size=self._actors[1]
                    ),
                    batch_size=stage.batch_size,
                    num_cpus=CPUS_PER_ACTOR,
                    max_restarts=-1,
                    max_task_retries=-1,
                )
            for row in data.iter_rows():
                item, events = pickle.loads(row["row"])
                done.append(item)
                for event in events:
                    assert isinstance(event, ItemDone)
                    on_event(event)
        return end_run(items, built, done)


def block_of(rows: Any) -> dict[str, Any]:
    return {"row": np.array([pickle.dumps(row) for row in rows], dtype=object)}
