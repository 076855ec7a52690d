"""Fixtures of the pipeline's tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.reaper import guard_children


@pytest.fixture(scope="session", autouse=True)
def no_child_outlives_the_tests() -> Iterator[None]:
    with guard_children():
        yield


@pytest.fixture(scope="session")
def embedded_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One Ray on this machine for all tests that need none of their own; its scratch folder."""
    from pipeline.runners.embedded import connected

    folder = tmp_path_factory.mktemp("scratch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("E3D_SCRATCH", os.fspath(folder))
        with connected(None):
            yield folder


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder for the scratch folders of processes started within the test."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("E3D_SCRATCH", os.fspath(folder))
    return folder
