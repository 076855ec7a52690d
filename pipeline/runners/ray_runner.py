"""Runs stages on Ray: embedded on this machine, or on a cluster."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.execute import OnEvent
from pipeline.runners.contract import begin_run, end_run
from pipeline.stage import Item, ShouldStop, StageSpec, never


@dataclass(frozen=True)
class RayRunner:
    """Streams items through all stages, on all machines of the cluster.

    Call it in the main thread, so that Ctrl-C reaches it. Workers that die are replaced; the item
    that kills its worker each time becomes crashed.
    """

    address: str | None = None
    """Of a running cluster, which is neither started nor stopped; None embeds a Ray of our own."""

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
        """See Runner.run. Where the ledger holds everything, Ray is not even imported."""
        built, done, pending = begin_run(stages, items, store_url, on_event)
        if pending:
            from pipeline.runners.embedded import connected  # noqa: PLC0415  see above
            from pipeline.runners.stream import Stream  # noqa: PLC0415  see above

            with (
                connected(self.address),
                Stream(
                    stages, built, pending, store_url=store_url, run_id=run_id, on_event=on_event
                ) as stream,
            ):
                done = done + stream.run(should_stop)
        return end_run(items, built, done)
