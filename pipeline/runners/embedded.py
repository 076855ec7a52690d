"""The connection to Ray: an embedded one on this machine, or a cluster that somebody else runs."""

import contextlib
import logging
import os
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read at import: nothing leaves the machine

import ray
import ray._private.worker

from pipeline.errors import ConfigurationError
from pipeline.runners.fit import Node
from pipeline.runners.one_connection import connection_stack
from pipeline.scratch import Scratch, scratch_root, sweep

_GIB = 1024**3
_ANSWER_S = 10.0  # for a cluster's first sign of life
_OBJECT_STORE_BYTES = 100 * 1024**2  # references and rows travel through Ray, frames never
_LONGEST_ROOT = 20  # Ray puts sockets below it, and their paths may have 107 characters


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Be connected to Ray within the block.

    None starts a Ray on this machine and ends it afterwards; an address connects to a running
    cluster, which is neither started nor stopped. Inside another connection nothing happens;
    inside `one_connection` this one lasts until the end of that block.
    """
    if ray.is_initialized():
        yield
        return
    with connection_stack() as stack:
        _mute(stack)
        handler = signal.getsignal(signal.SIGTERM)
        if address is None:
            _start(stack)
        else:
            _connect(address, stack)
        _restore_sigterm(handler, stack)
        yield


def nodes() -> list[Node]:
    """Return the machines of the cluster that are alive."""
    return [
        Node(
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
            memory_gib=node["Resources"].get("memory", 0.0) / _GIB,
        )
        for node in ray.nodes()  # type: ignore[no-untyped-call]  # Ray has no type for it
        if node["Alive"]
    ]


def _connect(address: str, stack: contextlib.ExitStack) -> None:
    if address.startswith("ray://"):
        raise ConfigurationError(
            f"{address} is an address of Ray Client, which cannot stream: run the command on a "
            "machine of the cluster and give HOST:6379, the address that `ray start` prints"
        )
    host, _, port = address.rpartition(":")
    try:
        if port.isdigit():  # Ray itself tries for minutes, loudly
            socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
        stack.callback(ray.shutdown)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except OSError as error:
        why = str(error).partition("\n")[0]
        raise ConfigurationError(f"no Ray cluster answers at {address}: {why}") from error


def _mute(stack: contextlib.ExitStack) -> None:
    """Keep Ray from printing to stdout, which log_to_driver=False does for some lines only."""
    ray._private.worker._worker_logs_enabled = False  # noqa: SLF001  there is no public switch
    stack.callback(setattr, ray._private.worker, "_worker_logs_enabled", True)  # noqa: SLF001


def _restore_sigterm(handler: Any, stack: contextlib.ExitStack) -> None:
    """Undo that Ray takes SIGTERM over: at once where the caller handles it, else afterwards."""
    if handler is None or threading.current_thread() is not threading.main_thread():
        return
    if callable(handler):
        signal.signal(signal.SIGTERM, handler)
    stack.callback(signal.signal, signal.SIGTERM, handler)


def _start(stack: contextlib.ExitStack) -> None:
    # A token in the environment keeps Ray from writing one into the user's home folder.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    stack.callback(lambda: sweep(scratch_root()))  # of killed workers
    root = tempfile.gettempdir()
    folder = Scratch(Path(root if len(root) < _LONGEST_ROOT else "/tmp"))  # noqa: S108  private
    stack.callback(folder.close)
    stack.callback(ray.shutdown)
    cores = len(os.sched_getaffinity(0))
    ray.init(
        address="local",  # else Ray would follow RAY_ADDRESS
        num_cpus=cores if cores != os.cpu_count() else None,  # None: Ray minds container limits
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=_OBJECT_STORE_BYTES,
        _temp_dir=str(folder.folder),
    )
