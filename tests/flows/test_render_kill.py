"""A job of 20 shots on Ray, killed at its worker, its driver and its store, and run again.

Whatever died: 20 films are delivered, none twice, with the bytes of a run that nobody disturbed.
"""

import os
import random
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import servers
import yaml
from small_dataset import decode

from flows.cli.exit_code import ExitCode
from flows.server import PrefectServer
from pipeline.films import find_films, identify_films
from pipeline.provenance.manifest import sha256_without_manifest
from pipeline.provenance.signed_delivery import SIGN
from pipeline.recipes import preprocess_recipe
from pipeline.rendering.delivery import JOBS
from pipeline.runners.local import LocalRunner
from pipeline.stages.render_film import RenderFilm
from pipeline.stages.rendering import DELIVERED
from storage.identity import digest_file
from storage.ledger import Ledger
from storage.schemas import renders_schema
from storage.store import Store, open_store
from storage.tables import read_table
from tests.flows.command import Ended
from tests.flows.conftest import RUN, TrainedRun
from tests.flows.consents import RENDER_RECIPE, agree
from tests.flows.killing import IsTime, Process, Running, kill9, killed, running

JOB = "reel"
LENGTH_S, STEP_S = 0.25, 0.06
SHOTS = [f"shot-{number:02d}" for number in range(20)]
STAGE = RenderFilm.name
TARGET = f"deliver/{JOB}"
SEED = 20265
TROUBLE_LIMIT_S = 120.0
"""So soon must a command give up a store that is gone."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"),
]


@dataclass(frozen=True)
class RenderJob:
    """The job's file, and a store that holds all but the shots. To be read; to write, copy it."""

    file: Path
    store: Path

    def words(self, store: object) -> list[object]:
        return ["render", self.file, "--store", store, "--json"]


@dataclass(frozen=True)
class Films:
    """What a job has made, without what chance adds to a signature."""

    rendered: dict[str, str]
    """sha256 of the rendered film by ledger key."""
    delivered: dict[str, str]
    """sha256 of the delivered film, its manifest left out, by shot."""


@pytest.fixture(scope="module", autouse=True)
def _two_cores() -> Iterator[None]:
    """Room for one worker: with many of them all shots would be done before the first kill."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:2])
    yield
    os.sched_setaffinity(0, cores)


@pytest.fixture(scope="module")
def job(
    trained: TrainedRun,
    short_man: Path,
    short_woman: Path,
    dlib_resnet: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> RenderJob:
    folder = tmp_path_factory.mktemp("kill")
    store = Path(shutil.copytree(trained.store, folder / "store"))
    agree(store, "man", short_man)
    LocalRunner().run(
        preprocess_recipe(RENDER_RECIPE).stages(),
        identify_films(find_films([str(short_man), str(short_woman)])),
        store_url=str(store),
        run_id="made-by-tests",
        on_event=lambda _event: None,
    )
    shots = [
        {
            "mode": "film",
            "id": shot,
            "film": str(short_man),
            "consent": "man",
            "performance": {"video": str(short_woman)},
            "start_s": round(STEP_S * number, 3),
            "end_s": round(STEP_S * number + LENGTH_S, 3),
        }
        for number, shot in enumerate(SHOTS)
    ]
    file = folder / "job.yaml"
    file.write_text(
        yaml.safe_dump({"job": JOB, "run": RUN, "recipe": RENDER_RECIPE, "shots": shots})
    )
    return RenderJob(file, store)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands keep what they need for a while."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    for name in ("E3D_SCRATCH", "TMPDIR"):
        monkeypatch.setenv(name, str(folder))
    return folder


@pytest.fixture(scope="module")
def undisturbed(job: RenderJob, tmp_path_factory: pytest.TempPathFactory) -> Films:
    """The films of a run that nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    store = shutil.copytree(job.store, folder / "store")
    with running(*job.words(store)) as command:
        return films_of(command.end(), str(store), folder)


def films_of(ended: Ended, url: str, folder: Path) -> Films:
    """What a command has delivered; fails where it is not each shot once, whole and in order."""
    assert ended.code == 0, ended.err
    ledger = Ledger(open_store(url))
    commits = [ledger.expect(STAGE, key) for key in ledger.committed(STAGE)]
    assert [commit.outcome for commit in commits] == ["ok"] * len(SHOTS)
    assert len(ledger.committed(SIGN)) == len(SHOTS)
    assert len(ledger.history(JOBS, JOB)) == 1
    names = [f"{TARGET}/{shot}.mp4" for shot in SHOTS]
    others = [f"{TARGET}/renders.parquet", f"{TARGET}/report.html"]
    assert ledger.store.list(TARGET) == sorted(names + others)

    ledger.store.fetch(others[0], folder / "renders.parquet")
    rows = read_table(folder / "renders.parquet", renders_schema()).to_pylist()
    assert [(row["shot_id"], row["outcome"]) for row in rows] == [(shot, "ok") for shot in SHOTS]
    assert [row["key"] for row in rows] == names
    delivered = {}
    for row in rows:
        film = folder / f"{row['shot_id']}.mp4"
        ledger.store.fetch(row["key"], film)
        assert digest_file(film) == row["sha256"]
        assert len(decode(film)) == row["frames_total"] == row["frames_rendered"]
        delivered[row["shot_id"]] = sha256_without_manifest(film)
    rendered = {commit.key: commit.output(DELIVERED).sha256 for commit in commits}
    return Films(rendered, delivered)


def committed(store: Store) -> set[str]:
    """Ledger keys of the shots that are rendered."""
    return Ledger(store).committed(STAGE)


def begun(store: Store) -> set[str]:
    """Ledger keys of the shots that some run has begun."""
    return {key.split("/")[2] for key in store.list(f"attempts/{STAGE}")}


def rendered(store: Store, count: int) -> IsTime:
    """Tells when so many shots are rendered."""
    return lambda: len(committed(store)) >= count


def another_begun(store: Store) -> IsTime:
    """Tells when a shot has been begun that was not when this was called."""
    before = begun(store)
    return lambda: begun(store) > before


def worker_of(command: Running) -> Process:
    """The one process that renders for the command."""
    (worker,) = [one for one in command.processes() if one.title.startswith("ray::PoolWorker")]
    return worker


def test_a_killed_worker_is_replaced(
    job: RenderJob, undisturbed: Films, prefect_api: PrefectServer, tmp_path: Path, scratch: Path
) -> None:
    url = str(shutil.copytree(job.store, tmp_path / "store"))
    store = open_store(url)
    with running(*job.words(url)) as command:
        killed_workers = set()
        for count in (3, 9):
            command.reach(rendered(store, count))
            worker = worker_of(command)
            command.reach(another_begun(store))  # so that it dies within a shot
            kill9(worker)
            killed_workers.add(worker)
        assert len(killed_workers) == 2
        assert len(committed(store)) < len(SHOTS)
        ended = command.end()
    assert films_of(ended, url, tmp_path) == undisturbed
    # The shots that the killed workers had begun, and no others.
    assert len(store.list(f"attempts/{STAGE}")) == len(SHOTS) + 2
    assert not any(scratch.iterdir())


def test_a_killed_driver_leaves_nothing_and_its_work_goes_on(
    job: RenderJob, undisturbed: Films, prefect_api: PrefectServer, tmp_path: Path, scratch: Path
) -> None:
    url = str(shutil.copytree(job.store, tmp_path / "store"))
    store, chance = open_store(url), random.Random(SEED)
    assert killed(job.words(url), rendered(store, 6), chance.uniform(0, 1))
    done = committed(store)
    lost = begun(store) - done
    assert 6 <= len(done) < len(SHOTS)
    assert store.list(TARGET) == []
    # While films are signed; on a quick machine the command may be done before.
    killed(job.words(url), lambda: len(store.list(TARGET)) >= 3, 0.0)

    with running(*job.words(url)) as command:
        ended = command.end()
    assert films_of(ended, url, tmp_path) == undisturbed
    # What was done is not done again.
    assert len(store.list(f"attempts/{STAGE}")) == len(SHOTS) + len(lost)
    assert not any(scratch.iterdir())


def test_a_killed_store_is_one_sentence_and_its_data_are_gone_on_from(
    job: RenderJob,
    undisturbed: Films,
    prefect_api: PrefectServer,
    seaweed_server: servers.SeaweedServer,
    tmp_path: Path,
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in seaweed_server.environment.items():
        monkeypatch.setenv(name, value)
    url, chance = f"s3://{servers.BUCKET}/render-kill", random.Random(SEED)
    store, original = open_store(url), open_store(str(job.store))
    for key in original.list(""):
        store.put(key, original.get(key))

    try:
        with running(*job.words(url)) as command:
            command.reach(rendered(store, 5), chance.uniform(0, 1))
            seaweed_server.kill9()
            ended = command.end(TROUBLE_LIMIT_S)
    finally:
        seaweed_server.restart()
    assert ended.code == ExitCode.BAD_USE, ended.err
    assert "does not answer" in ended.sentence
    assert "Traceback" not in ended.err
    assert ended.out == ""
    done = len(committed(store))
    assert 5 <= done < len(SHOTS)
    assert store.list(TARGET) == []

    with running(*job.words(url)) as command:
        again = command.end()
    assert films_of(again, url, tmp_path) == undisturbed
    assert servers.SECRET_KEY not in ended.err + again.out + again.err
    assert not any(scratch.iterdir())
