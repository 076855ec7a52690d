"""S3 servers on loopback for tests: moto in this process, SeaweedFS as a child of it."""

import ctypes
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.server import ThreadedMotoServer

ACCESS_KEY, SECRET_KEY = "e3d-test-user", "e3d-test-secret-Jw8tVb"
READER_KEY = "e3d-test-reader"  # same secret, may only read and list
BUCKET = "films"
_READY_S = 120.0  # after a kill the master waits for an election first
_STOP_S = 20.0
_STARTS = 3
_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None)  # loaded here: after a fork of threads nothing may be loaded


class S3Server:
    """A server with one empty bucket, BUCKET, and the variables that lead the product to it."""

    def __init__(self, url_endpoint: str) -> None:
        self.url_endpoint = url_endpoint
        self.environment = {
            "AWS_ENDPOINT_URL_S3": url_endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        """Plain S3 client for what the product's store does not do: buckets, unfinished uploads."""
        return boto3.client(
            "s3",
            endpoint_url=self.url_endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
            config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
        )

    def make_bucket(self, bucket: str) -> None:
        self.client().create_bucket(Bucket=bucket)


class MotoServer(S3Server):
    """moto in a thread of this process: quick, in memory, knows no credentials."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # else a line for each request
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        super().__init__(f"http://{host}:{port}")
        self.make_bucket(BUCKET)

    def add_objects(self, bucket: str, keys: list[str]) -> None:
        """Many objects at once, past the network."""
        backend = get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"]
        for key in keys:
            backend.put_object(bucket, key, b"")

    def stop(self) -> None:
        self._server.stop()


class SeaweedServer(S3Server):
    """SeaweedFS with its data in a folder; kill9() and restart() keep data and address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for start in range(1, _STARTS + 1):
            self._ports = _free_ports(8)
            super().__init__(f"http://127.0.0.1:{self._ports[0]}")
            try:
                self.restart()
            except RuntimeError:  # another process took one of the ports meanwhile
                if start == _STARTS:
                    raise
            else:
                return

    def restart(self) -> None:
        """Start the server (again) and wait until it takes an object."""
        self._process = self._spawn()
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self._write_something()
            except (BotoCoreError, ClientError):
                time.sleep(0.2)
            else:
                return
        self.kill9()
        log = (self.folder / "weed.log").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"SeaweedFS did not become ready:\n{log}")

    def kill9(self) -> None:
        """End the server as a power failure would."""
        self._process.kill()
        self._process.wait(_STOP_S)

    def stop(self) -> None:
        """End the server and remove its data."""
        self.kill9()  # its own shutdown takes seconds that only data worth keeping deserves
        shutil.rmtree(self.folder, ignore_errors=True)
        for port in self._ports:  # it puts sockets here whatever it is told
            for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                path.unlink(missing_ok=True)

    def _write_something(self) -> None:
        buckets = {bucket["Name"] for bucket in self.client().list_buckets()["Buckets"]}
        if BUCKET not in buckets:
            self.make_bucket(BUCKET)
        self.client().put_object(Bucket=BUCKET, Key="ready", Body=b"yes")
        self.client().delete_object(Bucket=BUCKET, Key="ready")

    def _spawn(self) -> subprocess.Popen[bytes]:
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        config = self.folder / "identities.json"
        users = [
            _identity(ACCESS_KEY, ["Admin", "Read", "Write", "List", "Tagging"]),
            _identity(READER_KEY, ["Read", "List"]),
        ]
        config.write_text(json.dumps({"identities": users}))
        s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = self._ports
        options = {
            "dir": data,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "s3.config": config,
            "s3.port": s3,
            "s3.port.grpc": s3_grpc,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "master.port": master,
            "master.port.grpc": master_grpc,
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 512,
            "volume.port": volume,
            "volume.port.grpc": volume_grpc,
            "volume.max": 20,
            "filer.port": filer,
            "filer.port.grpc": filer_grpc,
        }
        weed = Path(sys.executable).with_name("weed")
        arguments = [f"-{name}={value}" for name, value in options.items()]
        with (self.folder / "weed.log").open("ab") as log:
            return subprocess.Popen(
                [weed, "-logtostderr=true", "server", "-s3", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  one system call, no lock
            )


def start_moto() -> MotoServer:
    return MotoServer()


def start_seaweed(folder: Path) -> SeaweedServer:
    """Start SeaweedFS with its data below an empty folder, which stop() removes."""
    return SeaweedServer(folder)


@pytest.fixture(scope="session")
def moto_server() -> Iterator[MotoServer]:
    server = start_moto()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def seaweed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    server = start_seaweed(tmp_path_factory.mktemp("seaweed"))
    yield server
    server.stop()


def _identity(access_key: str, actions: list[str]) -> dict[str, Any]:
    credentials = [{"accessKey": access_key, "secretKey": SECRET_KEY}]
    return {"name": access_key, "credentials": credentials, "actions": actions}


def _die_with_parent() -> None:
    """In the child: SIGKILL when the test process goes, however it goes."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
