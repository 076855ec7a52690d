"""One embedded Prefect server for all tests of this room."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import server as flows_server
from flows.server import PrefectServer, prefect_server



@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A running server with a data base of its own; the environment leads this process to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("E3D_HOME", str(tmp_path_factory.mktemp("e3d-home")))
        patch.delenv("PREFECT_API_URL", raising=False)
        with prefect_server() as server:
            yield server


@pytest.fixture(autouse=True)
def _settings_follow_environment() -> Iterator[None]:
    """Where a test changed PREFECT_ variables, Prefect reads the restored ones after it."""
    yield
    flows_server._read_settings_again()
