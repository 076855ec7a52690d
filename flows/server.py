"""The Prefect server behind a command: the one that PREFECT_API_URL names, or an embedded one.

The embedded server (SQLite, on loopback, its files in $E3D_HOME/prefect) is shared by all commands
of one E3D_HOME, for SQLite takes one server alone. It ends with the last of them, however that one
ends; see `flows.server_keeper`.
"""

import fcntl
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flows import server_keeper as keeper
from flows.redact import redact
from pipeline import reaper
from pipeline.home import e3d_home

_START_LIMIT_S = 150.0  # a first start creates the data base, which is slow on a busy machine
_STOP_LIMIT_S = 30.0
_REQUEST_LIMIT_S = 5.0
_DRAIN_LIMIT_S = 10.0
_CONSOLE_LEVEL = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"


class ServerError(Exception):
    """No usable Prefect server: one sentence that says why and what to look at."""


@dataclass(frozen=True)
class PrefectServer:
    """A server that answers. `embedded` tells whether it is ours; `log` is its log file, if so."""

    api_url: str
    ui_url: str
    embedded: bool
    log: Path | None = None

    def flow_run_url(self, flow_run_id: object) -> str:
        """Address of a flow run's page for people."""
        return f"{self.ui_url}/runs/flow-run/{flow_run_id}"


@contextmanager
def prefect_server() -> Iterator[PrefectServer]:
    """Have a Prefect server that answers, and this process set to use it; raises ServerError.

    With PREFECT_API_URL in the environment that server is used. Otherwise the embedded server of
    $E3D_HOME is started, or joined where another command runs it already, and stopped at the end by
    its last user. The environment is set before Prefect is imported; where it was imported earlier
    its settings are read again. Prefect's own lines are seen in the UI alone, for the terminal is
    the command's; with E3D_DEBUG=1 they come to both.
    """
    console_level = "INFO" if os.environ.get("E3D_DEBUG") == "1" else "CRITICAL"
    with _environment({_CONSOLE_LEVEL: console_level}):
        if given := os.environ.get("PREFECT_API_URL"):
            yield _given_server(given.rstrip("/"))
        else:
            with _embedded_server(e3d_home() / "prefect") as server:
                yield server


def running_server() -> PrefectServer | None:
    """The embedded server of $E3D_HOME, if some command runs it now."""
    home = e3d_home() / "prefect"
    found = keeper.find_server(home) if home.is_dir() else None
    return _describe(home, found.port) if found else None


def check_api(api_url: str) -> None:
    """Ask the server that PREFECT_API_URL names for its health and version; raises ServerError.

    Prefect's own client asks, with the user's key, certificates and proxies.
    """
    from prefect.client.orchestration import get_client  # noqa: PLC0415  takes seconds to import
    from prefect.settings import (  # noqa: PLC0415  as above
        PREFECT_API_URL,
        PREFECT_CLIENT_MAX_RETRIES,
        temporary_settings,
    )

    limit = {"timeout": _REQUEST_LIMIT_S}
    with (
        temporary_settings({PREFECT_API_URL: api_url, PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(limit, sync_client=True) as client,
    ):
        trouble = client.api_healthcheck()
        if trouble is None:
            try:
                client.raise_for_api_version_mismatch()
            except RuntimeError as error:
                trouble = error
    if trouble is not None:
        reason = redact((str(trouble).splitlines() or [type(trouble).__name__])[0])
        raise ServerError(
            f"PREFECT_API_URL is {redact(api_url)}, where no Prefect server answers: {reason}"
        )


def _given_server(api_url: str) -> PrefectServer:
    from prefect.settings import get_current_settings  # noqa: PLC0415  takes seconds to import

    check_api(api_url)
    return PrefectServer(api_url, get_current_settings().ui_url or api_url, embedded=False)


@contextmanager
def _embedded_server(home: Path) -> Iterator[PrefectServer]:
    home.mkdir(parents=True, exist_ok=True)
    began = datetime.now(UTC)
    started: list[subprocess.Popen[bytes]] = []
    users = keeper.open_lock(home / keeper.USERS_LOCK)
    try:
        # A keeper that is just stopping its server holds this lock until that is done.
        if not keeper.lock_within(users, fcntl.LOCK_SH, _STOP_LIMIT_S):
            raise ServerError(f"the embedded Prefect server of {home} does not end; {_hint(home)}")
        server = _join_or_start(home, started)
        with _environment(_settings(home) | _addresses(server)):
            if started:
                from flows.dead_runs import mark_dead_runs  # noqa: PLC0415  imports Prefect

                mark_dead_runs(began)
            try:
                yield server
            finally:
                _send_what_waits()
    finally:
        if keeper.try_lock(users, fcntl.LOCK_EX):  # we were the last user
            _stop_server(home)
            for process in started:
                process.wait(_STOP_LIMIT_S)
        os.close(users)


def _join_or_start(home: Path, started: list[subprocess.Popen[bytes]]) -> PrefectServer:
    """Wait for a healthy server of `home`; start a keeper (into `started`) where there is none."""
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline:
        found = keeper.find_server(home)
        if found and _is_healthy(found.port):
            return _describe(home, found.port)
        if not found and not started:
            started.append(_start_keeper(home))
        elif not found and started[0].poll() is not None:
            raise ServerError(f"the embedded Prefect server ended while starting; {_hint(home)}")
        time.sleep(0.2)
    raise ServerError(
        f"the embedded Prefect server gave no answer for {_START_LIMIT_S:.0f} s; {_hint(home)}"
    )


def _start_keeper(home: Path) -> subprocess.Popen[bytes]:
    settings = {"PREFECT_SERVER_LOGGING_LEVEL": "WARNING"} | os.environ
    settings |= _settings(home)
    settings.pop(reaper.COOKIE, None)  # other commands may use the server when this one has ended
    with _log_file(home).open("ab") as log:
        return subprocess.Popen(  # noqa: S603  our own program, with a path of ours
            [sys.executable, "-I", "-S", keeper.__file__, str(home)],
            env=settings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the command; the keeper sees the command end
        )


def _stop_server(home: Path) -> None:
    lock = keeper.open_lock(home / keeper.SERVER_LOCK)
    try:
        for signal_group, order in ((os.kill, signal.SIGTERM), (os.killpg, signal.SIGKILL)):
            if not (found := keeper.find_server(home)):
                return
            with suppress(ProcessLookupError):
                signal_group(found.group, order)
            if keeper.lock_within(lock, fcntl.LOCK_EX, _STOP_LIMIT_S):
                return
    finally:
        os.close(lock)


def _settings(home: Path) -> dict[str, str]:
    """What both sides must find in the environment; each line is a trap once met."""
    loopback = "127.0.0.1,localhost"
    unproxied = {
        name: f"{os.environ[name]},{loopback}" if os.environ.get(name) else loopback
        for name in ("NO_PROXY", "no_proxy")
    }
    return unproxied | {
        "PREFECT_HOME": str(home),
        # Without it, a process that misses PREFECT_API_URL would quietly start a server of its own.
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "DO_NOT_TRACK": "1",
    }


def _addresses(server: PrefectServer) -> dict[str, str]:
    return {"PREFECT_API_URL": server.api_url, "PREFECT_UI_URL": server.ui_url}


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    _read_settings_again()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _read_settings_again()


def _read_settings_again() -> None:
    if "prefect.context" in sys.modules:  # else the first import reads them
        sys.modules["prefect.context"].refresh_global_settings_context()


def _send_what_waits() -> None:
    """Send the logs and events that Prefect still holds back, while a server can take them."""
    if "prefect" in sys.modules:
        from prefect.events.worker import EventsWorker  # noqa: PLC0415  only where Prefect was used
        from prefect.logging.handlers import APILogWorker  # noqa: PLC0415  as above

        APILogWorker.drain_all(timeout=_DRAIN_LIMIT_S, at_exit=False)
        EventsWorker.drain_all(timeout=_DRAIN_LIMIT_S, at_exit=False)


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_REQUEST_LIMIT_S)
    try:
        connection.request("GET", "/api/health")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _describe(home: Path, port: int) -> PrefectServer:
    address = f"http://127.0.0.1:{port}"
    # Without /v2, links to a run open the older of the two UIs.
    return PrefectServer(f"{address}/api", f"{address}/v2", embedded=True, log=_log_file(home))


def _log_file(home: Path) -> Path:
    return home / "server.log"


def _hint(home: Path) -> str:
    """The last line of the log that tells of an error, and where the whole log lies."""
    log = _log_file(home)
    lines = log.read_text("utf-8", "replace").splitlines() if log.is_file() else []
    errors = [line.strip() for line in lines if "error" in line.lower()]
    said = f"its last error was: {redact(errors[-1])[:300]}; " if errors else ""
    return f"{said}its log is {log}"
