"""A trained run in, its numbers and pictures out: by the flow and by the command."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_dataset import NAME

from flows.evaluate import evaluate_run
from flows.server import PrefectServer
from model.evaluation.metrics import METRICS
from storage.ledger import Ledger
from storage.store import open_store
from tests.flows.command import Ended
from tests.flows.conftest import RUN, TrainedRun
from tests.flows.report_page import pictures_of

STAGES = {"evaluation", "expressions", "views"}
PAGE = f"reports/evaluations/{RUN}-{NAME}.html"


@pytest.fixture(autouse=True)
def _server(prefect_api: PrefectServer) -> None:
    pass


@pytest.fixture(scope="module")
def evaluated(
    trained: TrainedRun, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """The run RUN judged on its own dataset. To be read; to write, copy the store."""
    store = Path(shutil.copytree(trained.store, tmp_path_factory.mktemp("evaluated") / "store"))
    return store, evaluate_run(str(store), RUN, frames=3, ray_address="none")


def page_of(store: Path) -> str:
    return Ledger(open_store(str(store))).store.get(PAGE).decode()


def test_the_summary_tells_what_was_measured(evaluated: tuple[Path, dict[str, Any]]) -> None:
    _, result = evaluated
    assert (result["run"], result["dataset"], result["outcome"]) == (RUN, NAME, "ok")
    assert result["keys"].keys() == STAGES
    assert result["computed"] == len(STAGES)
    rows = {(row["protocol"], row["metric"]): row for row in result["metrics"]}
    assert rows["same", "psnr"]["measured"] == 6
    assert rows["same", "psnr"]["paper_vfhq"] == 23.555
    assert rows["same", "akd"]["copy"] > 0
    assert ("cross", "psnr") not in rows
    assert {name for _, name in rows} <= {metric.name for metric in METRICS}
    assert "TRAINED ON" in result["seen"]


def test_the_page_shows_tables_pictures_and_what_does_not_compare(
    evaluated: tuple[Path, dict[str, Any]],
) -> None:
    store, result = evaluated
    page = page_of(store)
    assert result["report"].endswith(PAGE)
    for said in ("Same identity", "Cross identity", "copy the source", "not comparable",
                 "23.55", "another landmark detector", "Expression encoder", "Views"):  # fmt: skip
        assert said in page, said
    assert [kind for kind, _ in pictures_of(page)].count("image/png") >= 4


def test_a_second_run_computes_nothing(
    evaluated: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connected(_address: str | None) -> Any:
        raise AssertionError("Ray was started")

    store, result = evaluated
    store = Path(shutil.copytree(store, tmp_path / "store"))
    monkeypatch.setattr("pipeline.runners.embedded.connected", connected)
    again = evaluate_run(str(store), RUN, frames=3)
    assert again == {**result, "computed": 0, "report": again["report"]}
    assert page_of(store) == page_of(evaluated[0])


def test_the_command_prints_a_table(
    evaluated: tuple[Path, dict[str, Any]], tmp_path: Path, e3d_here: Callable[..., Ended]
) -> None:
    store = Path(shutil.copytree(evaluated[0], tmp_path / "store"))
    words = ["evaluate", "--store", store, "--run", RUN, "--frames", 3, "--ray", "none"]
    ended = e3d_here(*words)
    assert ended.code == 0, ended.err
    assert re.search(
        r"^same identity +generated +copy +film +paper +failed$", ended.out, re.MULTILINE
    )
    assert re.search(r"^  psnr +[\d.]+ +[\d.]+ +23\.5\d +0$", ended.out, re.MULTILINE)
    assert "not comparable" in ended.out
    assert "nothing to compute" in ended.out
    assert PAGE in ended.out
    assert e3d_here(*words, "--json").result["metrics"] == evaluated[1]["metrics"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--run", "absent"], f"there is no run 'absent' in .*; there is: {RUN}"),
        (["--run", RUN, "--dataset", "absent"], "there is no dataset 'absent' in .*"),
        (["--run", RUN, "--like", RUN], f"run '{RUN}' has not been evaluated on this version"),
    ],
)
def test_a_mistake_is_one_sentence(
    trained: TrainedRun,
    tmp_path: Path,
    options: list[str],
    said: str,
    e3d_here: Callable[..., Ended],
) -> None:
    store = Path(shutil.copytree(trained.store, tmp_path / "store"))
    ended = e3d_here("evaluate", "--store", store, "--ray", "none", *options)
    assert ended.code == 2
    assert re.match(said, ended.sentence)
    assert ended.out == ""
