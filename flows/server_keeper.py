"""Keep the embedded Prefect server alive exactly as long as some command uses it.

Started by `flows.server` alone, as a program: `server_keeper.py HOME`. Two locks in HOME tell all.
`users.lock` is held shared by each command that uses the server, so that the kernel itself tells
when the last one has gone, however it ended. `server.lock` is held by the keeper and its server;
its text says where they are. Only the standard library is imported: the keeper stays small.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

USERS_LOCK = "users.lock"
SERVER_LOCK = "server.lock"

_POLL_S = 0.5
_LOCK_LIMIT_S = 3.0
_STOP_LIMIT_S = 10.0


@dataclass(frozen=True)
class Whereabouts:
    """The text of `server.lock`: process group of keeper and server, and the server's port."""

    group: int
    port: int


def open_lock(path: Path) -> int:
    """Open a lock file (made when absent); the handle is not inherited by child processes."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(handle: int, kind: int) -> bool:
    """Take the lock at once (LOCK_SH or LOCK_EX; an owned lock is converted), or return False."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_within(handle: int, kind: int, limit_s: float) -> bool:
    """Take the lock, waiting `limit_s` for it at most."""
    deadline = time.monotonic() + limit_s
    while not try_lock(handle, kind):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def find_server(home: Path) -> Whereabouts | None:
    """Where the server of `home` runs; None when no living process holds its lock."""
    handle = open_lock(home / SERVER_LOCK)
    try:
        while not try_lock(handle, fcntl.LOCK_SH):
            try:
                return Whereabouts(**json.loads(os.pread(handle, 4096, 0)))
            except (ValueError, TypeError):  # whoever took the lock is about to write
                time.sleep(0.02)
        return None
    finally:
        os.close(handle)


def keep_server(home: Path) -> int:
    """Run a server until the last user of `home` has gone, or SIGTERM; return the exit status."""
    users = open_lock(home / USERS_LOCK)
    lock = open_lock(home / SERVER_LOCK)
    if not lock_within(lock, fcntl.LOCK_EX, _LOCK_LIMIT_S):
        return 0  # another keeper was quicker
    os.ftruncate(sys.stdout.fileno(), 0)  # the log tells of this server alone
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps(asdict(Whereabouts(os.getpgrp(), port))).encode(), 0)
    os.set_inheritable(lock, True)
    command = [sys.executable, "-m", "prefect", "server", "start"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    # What the browser calls must be said: it is port 4200 otherwise, whatever --port says.
    api_url = f"http://127.0.0.1:{port}/api"
    environment = os.environ | {"PREFECT_API_URL": api_url, "PREFECT_SERVER_UI_API_URL": api_url}
    # The folder matters: Prefect also reads settings from a prefect.toml or .env in it.
    server = subprocess.Popen(  # noqa: S603  the list holds our own words alone
        command, cwd=home, env=environment, stdin=subprocess.DEVNULL, pass_fds=(lock,)
    )
    try:
        while server.poll() is None and not try_lock(users, fcntl.LOCK_EX):
            time.sleep(_POLL_S)
    finally:
        _stop(server)
    return server.returncode or 0


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(_STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait(_STOP_LIMIT_S)


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(keep_server(Path(sys.argv[1])))
