"""What runs in a worker process: any of the stages of its pool, each set up on first use."""

from collections.abc import Mapping, Sequence
from threading import Event

from pipeline.events import Event as News
from pipeline.events import ItemDone, StageProgress
from pipeline.execute import StageWorker
from pipeline.stage import Item, StageSpec


class PoolWorker:
    """The stages of one pool in one process. One thread calls all but progress() and stop()."""

    def __init__(self) -> None:
        self._stages: dict[str, StageWorker] = {}
        self._progress: dict[str, StageProgress] = {}
        self._stop = Event()

    def open(self, specs: Mapping[str, StageSpec], store_url: str, run_id: str) -> None:
        """Build the stages; loads no weights. Raises what is wrong with them or with the store."""
        self._stages = {name: StageWorker(spec, store_url, run_id) for name, spec in specs.items()}

    def run(self, stage: str, items: Sequence[Item]) -> tuple[list[Item], list[ItemDone]]:
        """Take a batch one stage further; also return how its items ended, in order."""
        ended: list[ItemDone] = []

        def keep(event: News) -> None:
            if isinstance(event, ItemDone):
                ended.append(event)
            else:
                self._progress[event.item_id] = event

        self._progress = {}
        return self._stages[stage].run(items, keep, self._stop.is_set), ended

    def progress(self) -> list[StageProgress]:
        """News about the items in work since the last call: at most one row an item."""
        news, self._progress = self._progress, {}
        return list(news.values())

    def stop(self) -> None:
        """Ask a stage whose work takes hours to leave it; called beside run()."""
        self._stop.set()

    def close(self) -> None:
        """Close the stages and remove scratch folders."""
        for stage in self._stages.values():
            stage.close()
