"""Flow runs whose command was killed, and which nobody told the server about."""

from datetime import datetime

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed

_ALIVE = [StateType.RUNNING, StateType.CANCELLING]
_MESSAGE = "The command was killed. What it had committed is kept: run the same command again."


def mark_dead_runs(before: datetime) -> int:
    """Mark the runs as crashed that began earlier and are shown as running; return their number.

    For an embedded server that has just been started: its data base outlives all of its commands.
    """
    alive = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_ALIVE)),
        start_time=FlowRunFilterStartTime.model_validate({"before_": before}),
    )
    client = get_client(sync_client=True)
    dead = client.read_flow_runs(flow_run_filter=alive)
    for run in dead:
        client.set_flow_run_state(run.id, Crashed(message=_MESSAGE), force=True)
    return len(dead)
