"""Stores for these tests: a folder, a bucket of moto, a bucket of a real SeaweedFS."""

import uuid
from pathlib import Path

import pytest
import servers

from storage.store import Store, open_store


@pytest.fixture
def folder_store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def moto_store(moto_server, monkeypatch: pytest.MonkeyPatch) -> Store:
    return _new_store(moto_server, monkeypatch)


@pytest.fixture
def seaweed_store(seaweed_server, monkeypatch: pytest.MonkeyPatch) -> Store:
    return _new_store(seaweed_server, monkeypatch)


@pytest.fixture(params=["folder_store", "moto_store", "seaweed_store"])
def store(request: pytest.FixtureRequest) -> Store:
    """Each store in turn: what holds for one must hold for all."""
    return request.getfixturevalue(request.param)


def _new_store(server, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return open_store(f"s3://{servers.BUCKET}/{uuid.uuid4().hex}")
