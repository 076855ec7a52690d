"""`e3d preprocess` killed at random moments, and then run again as if nothing had happened."""

import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from small_dataset import NAME, RECIPE, dataset_files

from flows.server import PrefectServer
from tests.flows.command import e3d
from tests.flows.killing import killed

SEED = 20260

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")


def records(folder: Path) -> int:
    return sum(1 for _ in folder.rglob("*.json"))


def test_a_killed_command_goes_on_to_the_same_dataset(
    prefect_api: PrefectServer,
    small_store: Path,
    short_man: Path,
    short_woman: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, scratch, home = tmp_path / "store", tmp_path / "scratch", tmp_path / "home"
    monkeypatch.setenv("E3D_SCRATCH", str(scratch))
    words: list[object] = ["preprocess", short_man, short_woman, "--store", store]
    words += ["--dataset", NAME, "--recipe", RECIPE, "--json"]
    chance = random.Random(SEED)

    def more(folder: str, count: int) -> Callable[[], bool]:
        """Tells when so many records have come to a folder of the ledger from now on."""
        before = records(store / folder)
        return lambda: records(store / folder) >= before + count

    # While its own Prefect server starts; from then on the shared one is used.
    server_begins = (home / "prefect/server.lock").exists
    own = {"E3D_HOME": str(home), "PREFECT_API_URL": ""}
    assert killed(words, server_begins, chance.uniform(0, 2), **own)

    moments = [("attempts", 1), ("ledger", 1), ("attempts", 2), ("ledger", 2)]
    hits = [killed(words, more(*moment), chance.uniform(0, 0.4)) for moment in moments]
    # On a quick machine the command may be done before some of the kills come.
    assert any(hits), "the command was quicker than the test"

    ended = e3d(*words)
    assert ended.code == 0, ended.err
    assert ended.result["outcomes"] == {"ok": 2}
    undisturbed, survivor = dataset_files(small_store), dataset_files(store)
    assert survivor.keys() == undisturbed.keys()
    assert [key for key, data in undisturbed.items() if survivor[key] != data] == []
    assert not any(scratch.iterdir())
