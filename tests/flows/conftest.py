"""What the tests of this room share: one Prefect server, the command, and runs made once."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_dataset import NAME

from flows import server as flows_server
from flows.cli.main import main
from flows.server import PrefectServer, prefect_server
from tests.flows.command import Ended, e3d
from tests.flows.consents import agree


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


@pytest.fixture
def e3d_here(
    prefect_api: PrefectServer,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Callable[..., Ended]]:
    """Runs the command in this process, which saves its start; take `--ray none` with it."""

    def run(*words: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["e3d", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return Ended(int(end.value.code or 0), *capfd.readouterr())

    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    before = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True)
class MixedRun:
    """`e3d preprocess` over a folder of good and bad films, with a Ray of its own."""

    folder: Path
    store: Path
    ended: Ended

    @property
    def words(self) -> list[object]:
        """The command, to be run again."""
        return [
            *["preprocess", "--json", "--recipe", "demo", "--dataset", "mixed", "--store"],
            self.store,
        ]


MAN, WOMAN = 'mån "a\'s"\nfilm [1].mp4', b"woman::caf\xe9.mp4"
SHOWN_WOMAN = "woman::caf?.mp4"


@pytest.fixture(scope="session")
def mixed_run(
    prefect_api: PrefectServer,
    landmarker_task: Path,
    short_man: Path,
    short_woman: Path,
    short_landscape: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> MixedRun:
    """The films of the small dataset, oddly named, beside three bad films and a second copy."""
    folder = tmp_path_factory.mktemp("mixed-films")
    shutil.copy(short_man, folder / MAN)
    shutil.copy(short_man, folder / "second copy of the man.mp4")
    shutil.copy(short_woman, os.fsencode(folder) + b"/" + WOMAN)
    shutil.copy(short_landscape, folder / "landscape.mp4")
    (folder / "film.mp4").write_text("This is no film.\n" * 50)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / ".hidden").write_text("not looked at")
    run = MixedRun(folder, tmp_path_factory.mktemp("mixed-store"), Ended(0, "", ""))
    ended = e3d(*run.words, folder)
    assert ended.code == 0, ended.err
    return MixedRun(folder, run.store, ended)


@dataclass(frozen=True)
class TrainedRun:
    """A run of the tiny network on the small dataset."""

    store: Path
    result: dict[str, Any]


RUN, TRAIN_RECIPE = "tiny", "export3d_test"
THREADS = min(8, len(os.sched_getaffinity(0)))
"""What training gets on Ray here: the last digits of weights depend on the number of threads."""


@pytest.fixture(scope="session")
def trained(
    prefect_api: PrefectServer, small_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> TrainedRun:
    """The run RUN, in a store with the small dataset. To be read; to write, copy it."""
    import torch

    from flows.train import train_network

    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    store = Path(shutil.copytree(small_store, tmp_path_factory.mktemp("trained") / "store"))
    result = train_network(str(store), NAME, TRAIN_RECIPE, RUN, ray_address="none")
    torch.set_num_threads(threads)
    return TrainedRun(store, result)


@pytest.fixture(scope="session")
def consented(
    trained: TrainedRun,
    short_man: Path,
    short_woman: Path,
    portrait_png: Path,
    dlib_resnet: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The store of `trained`, with the consents `man`, `woman` and `astronaut`. To be copied."""
    store = Path(shutil.copytree(trained.store, tmp_path_factory.mktemp("consented") / "store"))
    for name, shown in (("man", short_man), ("woman", short_woman), ("astronaut", portrait_png)):
        agree(store, name, shown)
    return store


@pytest.fixture(scope="module")
def store(consented: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the store with the tiny network and the consents, for one file of tests."""
    return Path(shutil.copytree(consented, tmp_path_factory.mktemp("render") / "store"))
