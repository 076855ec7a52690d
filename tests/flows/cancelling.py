"""Somebody cancels a run in the Prefect UI."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterName,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Cancelling

_LIMIT_S = 120.0


@contextmanager
def cancelled(flow_run: str, is_time: Callable[[], bool]) -> Iterator[None]:
    """Cancel the run of that name that is begun in the block, as soon as it is time."""

    def cancel() -> None:
        deadline = time.monotonic() + _LIMIT_S
        while not is_time():
            assert time.monotonic() < deadline, "the command does not get on"
            time.sleep(0.05)
        wanted = FlowRunFilter(
            name=FlowRunFilterName(any_=[flow_run]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])),
        )
        with get_client(sync_client=True) as client:
            # Runs that were killed count as running for good: it is the newest one.
            newest = FlowRunSort.START_TIME_DESC
            run = client.read_flow_runs(flow_run_filter=wanted, sort=newest, limit=1)[0]
            client.set_flow_run_state(run.id, Cancelling())

    with ThreadPoolExecutor(1) as other, pytest.MonkeyPatch.context() as patch:
        patch.setattr("flows.cancellation.LOOK_EVERY_S", 0.05)
        asked = other.submit(cancel)
        yield
        asked.result(timeout=_LIMIT_S)
