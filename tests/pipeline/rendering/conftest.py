"""An empty store for each test."""

from pathlib import Path

import pytest

from storage.ledger import Ledger
from storage.store import open_store


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(open_store(str(tmp_path / "store")))
