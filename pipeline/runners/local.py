"""A plain loop in this process: for tests, debugging and small jobs."""

from collections.abc import Sequence
from contextlib import closing

from pipeline.execute import OnEvent, StageWorker
from pipeline.runners.contract import begin_run, end_run
from pipeline.stage import Item, ShouldStop, StageSpec, cancelled, never


class LocalRunner:
    """Stage after stage, batch after batch. A stage that kills the process kills the command."""

    def run(
        self,
        stages: Sequence[StageSpec],
        items: Sequence[Item],
        *,
        store_url: str,
        run_id: str,
        on_event: OnEvent,
        should_stop: ShouldStop = never,
    ) -> list[Item]:
        """See Runner.run."""
        built, done, pending = begin_run(stages, items, store_url, on_event)
        for spec in stages if pending else ():
            with closing(StageWorker(spec, store_url, run_id)) as worker:
                name, size = worker.stage.name, worker.stage.batch_size
                through = [item for item in pending if item.ended or name in item.commits]
                waiting = [item for item in pending if not (item.ended or name in item.commits)]
                for start in range(0, len(waiting), size):
                    batch = waiting[start : start + size]
                    if should_stop():
                        through += [cancelled(item) for item in batch]
                    else:
                        through += worker.run(batch, on_event, should_stop)
                pending = through
        return end_run(items, built, done + pending)
