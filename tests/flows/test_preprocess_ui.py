"""The run of `e3d preprocess` as its operator sees it in the browser."""

import os
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.sorting import FlowRunSort

from flows.server import PrefectServer
from tests.flows.browser import Page, artifact_ids, artifact_page, browser, flow_run_page
from tests.flows.conftest import SHOWN_WOMAN, MixedRun

RUN_NAME = "preprocess mixed"
KEYS = {"preprocess-mixed-progress", "mixed-films", "mixed-report"}


@pytest.fixture(scope="module")
def run_id(prefect_api: PrefectServer, mixed_run: MixedRun) -> str:
    """The first run of the command, which computed everything."""
    named = FlowRunFilter(name=FlowRunFilterName(any_=[RUN_NAME]))
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=named, sort=FlowRunSort.START_TIME_ASC)
    return str(runs[0].id)


def check(page: Page, name: str) -> None:
    """Neither blank nor lost: kept as a PNG where $E3D_SCREENSHOTS names a folder."""
    assert page.png.startswith(b"\x89PNG")
    assert not page.is_blank
    if folder := os.environ.get("E3D_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.save(Path(folder) / f"{name}.png")


def test_the_run_shows_progress_outcomes_and_report(
    prefect_api: PrefectServer, run_id: str
) -> None:
    ids = artifact_ids(prefect_api.api_url, run_id)
    assert ids.keys() == KEYS
    expected = {
        "preprocess-mixed-progress": ["Progress: 100%", "ingest 5/5", "face3d 5/5"],
        "mixed-films": ["not_media", "empty", "no_face", SHOWN_WOMAN, "landscape.mp4"],
        "mixed-report": ["Dataset mixed", "5 films: 2 failed, 1 filtered, 2 ok", "Crops", "Poses"],
    }
    with browser() as chromium:
        page = chromium.open(
            flow_run_page(prefect_api.ui_url, run_id, "Artifacts"), [RUN_NAME, "Completed", *KEYS]
        )
        assert "100 %: preprocess mixed: ingest 5/5" in page.text
        assert "5 rows: 2 failed, 1 filtered, 2 ok." in page.text
        check(page, "preprocess-run")
        tasks = flow_run_page(prefect_api.ui_url, run_id, "TaskRuns")
        check(
            chromium.open(tasks, ["identify films", RUN_NAME, "publish dataset"]),
            "preprocess-tasks",
        )
        for key, texts in expected.items():
            page = chromium.open(artifact_page(prefect_api.ui_url, ids[key]), [key, *texts])
            check(page, key)
            if key == "mixed-films":
                assert page.text.index("not_media") < page.text.index(SHOWN_WOMAN)
            if key == "mixed-report":
                widths = chromium.widths_of_pictures()
                # Counts, poses, openings, expressions, scores, and the crops of two films.
                assert sum(px > 200 for px in widths) >= 9
