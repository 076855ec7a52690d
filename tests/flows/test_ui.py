"""A run as an operator sees it: a real flow, the embedded server, the UI in a real browser."""

import base64

import cv2
import numpy as np
import pytest
from prefect import flow, get_run_logger, task
from prefect.runtime import flow_run

from flows import artifacts
from flows.server import PrefectServer
from tests.flows.browser import artifact_ids, artifact_page, browser, flow_run_page

RUN_NAME = "reel-7-by-night"


def data_uri(width: int) -> str:
    picture = np.zeros((40, width, 3), np.uint8)
    picture[:, : width // 2] = (40, 80, 220)
    return "data:image/png;base64," + base64.b64encode(cv2.imencode(".png", picture)[1]).decode()


@task
def look_at_films() -> None:
    bar = artifacts.ProgressArtifact("films-progress", "0 of 4 films", every_s=0)
    bar.update(0.75, "3 of 4 films, 2 min to go")
    get_run_logger().info("looked at 4 films")


@flow(name="films", flow_run_name=RUN_NAME)
def films() -> str:
    look_at_films()
    rows: list[dict[str, object]] = [{"item": "film-a", "outcome": "ok", "frames": 72}]
    rows += [{"item": "film-b", "outcome": "failed", "reason": "truncated", "frames": 0}]
    artifacts.create_outcome_table("films-outcomes", rows, "What became of each film.")
    pictures = f"![strip]({data_uri(320)})\n\n![curve]({data_uri(200)})"
    artifacts.create_report("films-report", f"# Films of reel 7\n\nTwo films.\n\n{pictures}")
    artifacts.create_link("films-store", "https://host/films", "the dataset's folder")
    return str(flow_run.id)


@pytest.fixture(scope="module")
def run_id(prefect_api: PrefectServer) -> str:
    return films()


def test_the_page_of_a_run_shows_its_artifacts_and_logs(
    prefect_api: PrefectServer, run_id: str
) -> None:
    with browser() as chromium:
        page = chromium.open(
            flow_run_page(prefect_api.ui_url, run_id, "Artifacts"),
            [RUN_NAME, "Completed", "films-progress", "films-outcomes", "films-report"],
        )
        assert not page.is_blank
        assert "75 %: 3 of 4 films, 2 min to go" in page.text
        assert "2 rows: 1 failed, 1 ok." in page.text
        logs = chromium.open(flow_run_page(prefect_api.ui_url, run_id), ["looked at 4 films"])
        assert not logs.is_blank


def test_each_artifact_is_readable(prefect_api: PrefectServer, run_id: str) -> None:
    ids = artifact_ids(prefect_api.api_url, run_id)
    expected = {
        "films-progress": ["Progress: 75%", "3 of 4 films"],
        "films-outcomes": ["outcome", "film-b", "truncated", "film-a", "72"],
        "films-report": ["Films of reel 7", "Two films."],
        "films-store": ["the dataset's folder"],
    }
    assert ids.keys() == expected.keys()
    with browser() as chromium:
        for key, texts in expected.items():
            page = chromium.open(artifact_page(prefect_api.ui_url, ids[key]), [key, *texts])
            assert not page.is_blank
            if key == "films-outcomes":
                assert page.text.index("film-b") < page.text.index("film-a")
            if key == "films-report":
                assert chromium.widths_of_pictures() == [320, 200]


def test_the_address_of_a_run_leads_to_its_page(prefect_api: PrefectServer, run_id: str) -> None:
    with browser() as chromium:
        chromium.open(prefect_api.flow_run_url(run_id), [RUN_NAME, "Completed"])
