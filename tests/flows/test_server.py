"""The embedded server: one for all commands of a home, gone with the last of them."""

import http.server
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.states import Running

from flows import server_keeper as keeper
from flows.dead_runs import mark_dead_runs
from flows.server import PrefectServer, ServerError, prefect_server, running_server
from pipeline import reaper

LIMIT_S = 60.0

USER = """
import sys
from flows.server import prefect_server
with prefect_server() as server:
    print(server.api_url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_api: PrefectServer) -> Path:
    """A home without a server, whose data base need not be created, which takes long."""
    monkeypatch.setenv("E3D_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL")
    home = tmp_path / "prefect"
    home.mkdir()
    assert prefect_api.log is not None
    with (
        closing(sqlite3.connect(prefect_api.log.with_name("prefect.db"))) as source,
        closing(sqlite3.connect(home / "prefect.db")) as copy,
    ):
        source.backup(copy)
    return home


def wait_until(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + LIMIT_S
    while not (so := is_so()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return so


def members(group: int) -> list[str]:
    """Processes of a group that are not zombies."""
    command = ["ps", "-e", "-o", "pgid=,stat=,args="]
    told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    rows = [line.split(maxsplit=2) for line in told.splitlines()]
    return [row[2] for row in rows if row[0] == str(group) and not row[1].startswith("Z")]


@flow
def answer() -> int:
    return 42


def test_a_server_is_shared_and_ends_with_its_last_user(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(reaper.COOKIE, "of-this-command")
    before = dict(os.environ)
    with prefect_server() as first:
        assert first.embedded
        assert os.environ["PREFECT_API_URL"] == first.api_url
        assert answer() == 42
        found = keeper.find_server(home)
        assert found is not None
        assert len(members(found.group)) == 2
        environment = Path(f"/proc/{found.group}/environ").read_bytes()
        assert b"of-this-command" not in environment  # a command's reaper spares it
        monkeypatch.delenv("PREFECT_API_URL")
        assert running_server() == first
        second = subprocess.Popen(
            [sys.executable, "-c", USER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert second.stdout is not None
        assert second.stdout.readline().strip() == first.api_url
    try:
        assert dict(os.environ) == before
        assert running_server() == first
        assert len(members(found.group)) == 2
    finally:
        second.kill()
        second.communicate(timeout=20)
    assert wait_until(lambda: not members(found.group))
    assert running_server() is None


def test_runs_outlive_their_server_and_killed_ones_are_shown_as_crashed(home: Path) -> None:
    with prefect_server(), get_client(sync_client=True) as client:
        finished = answer(return_state=True).state_details.flow_run_id
        killed = client.create_flow_run(answer, state=Running()).id
    assert running_server() is None
    with prefect_server(), get_client(sync_client=True) as client:
        assert client.read_flow_run(finished).state.type == "COMPLETED"
        assert client.read_flow_run(killed).state.type == "CRASHED"


def test_runs_of_living_commands_are_left_alone(prefect_api: PrefectServer) -> None:
    before = datetime.now(UTC)
    with get_client(sync_client=True) as client:
        living = client.create_flow_run(answer, state=Running())
        mark_dead_runs(before)
        assert client.read_flow_run(living.id).state.type == "RUNNING"
        assert mark_dead_runs(datetime.now(UTC)) == 1
        assert client.read_flow_run(living.id).state.type == "CRASHED"


def test_a_server_that_cannot_start_says_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "sqlite+aiosqlite:////no/such/x")
    with pytest.raises(ServerError, match=r"ended while starting.*server\.log"), prefect_server():
        pytest.fail("there is no server to use")
    assert keeper.find_server(home) is None


def test_a_hung_server_is_killed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.server._STOP_LIMIT_S", 3.0)
    with prefect_server():
        found = keeper.find_server(home)
        assert found is not None
        os.killpg(found.group, signal.SIGSTOP)
    assert wait_until(lambda: not members(found.group))


def test_a_given_server_is_used_and_not_stopped(prefect_api: PrefectServer) -> None:
    with prefect_server() as given:
        assert not given.embedded
        assert (given.api_url, given.ui_url) == (prefect_api.api_url, prefect_api.ui_url)
    assert answer() == 42


FAILING_RUN = """
from flows.server import prefect_server
with prefect_server():
    from prefect import flow
    @flow
    def broken() -> None:
        raise ValueError("no such film")
    try:
        broken()
    except ValueError as error:
        print("the command says:", error)
"""


def test_the_terminal_is_the_commands_own(prefect_api: PrefectServer) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FAILING_RUN],
        capture_output=True,
        text=True,
        timeout=2 * LIMIT_S,
        check=True,
    )
    assert (ran.stdout, ran.stderr) == ("the command says: no such film\n", "")


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_given_server_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://someone:word@127.0.0.1:{closed_port()}/api"
    monkeypatch.setenv("PREFECT_API_URL", url)
    with pytest.raises(ServerError, match="PREFECT_API_URL") as caught, prefect_server():
        pytest.fail("there is no server to use")
    assert "word" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def other_service() -> Iterator[str]:
    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=service.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{service.server_port}/api"
    service.shutdown()
    service.server_close()
    thread.join(timeout=20)


def test_another_service_is_not_taken_for_prefect(
    other_service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", other_service)
    with pytest.raises(ServerError, match="no Prefect server answers"), prefect_server():
        pytest.fail("there is no server to use")
