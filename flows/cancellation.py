"""Whether somebody has cancelled the run in the Prefect UI: then it drains, and keeps what is done.

Prefect ends the process of a deployment's run by force only where it does not end by itself. Runs
of our commands have no such keeper, so they look for themselves.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run

from flows.redact import redact

LOOK_EVERY_S = 3.0
_ASKED = {StateType.CANCELLING, StateType.CANCELLED}
_END_S = 10.0

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def cancellation() -> Iterator[threading.Event]:
    """Give an event that is set once the present flow run is being cancelled.

    A server that does not answer is asked again; the run goes on meanwhile.
    """
    asked, over = threading.Event(), threading.Event()
    run_id = flow_run.get_id()
    watcher = threading.Thread(target=_watch, args=(UUID(run_id), asked, over), daemon=True)
    watcher.start()
    try:
        yield asked
    finally:
        over.set()
        watcher.join(_END_S)


def _watch(run_id: UUID, asked: threading.Event, over: threading.Event) -> None:
    with get_client(sync_client=True) as client:
        while not over.wait(LOOK_EVERY_S):
            try:
                state = client.read_flow_run(run_id).state
            except (httpx.HTTPError, PrefectException) as error:
                _log.warning("cannot see whether the run is cancelled: %s", redact(str(error)))
                continue
            if state is not None and state.type in _ASKED:
                asked.set()
                return
