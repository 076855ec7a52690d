import re
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import artifacts
from flows.artifacts import ProgressArtifact, artifact_key, bounded_markdown, create_outcome_table

PIXEL = "data:image/png;base64,iVBORw0KGgo="


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_every_key_is_one_that_prefect_accepts(parts: list[str]) -> None:
    try:
        key = artifact_key(*parts)
    except ValueError:
        assert not re.search(r"[a-zA-Z0-9]", "".join(parts).lower())
    else:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key)


def test_key_names_all_parts() -> None:
    assert (
        artifact_key("Preprocess", "outcomes", "film_07.mp4") == "preprocess-outcomes-film-07-mp4"
    )


class Recorder:
    """Stands in for Prefect's functions: what would have been sent."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.trouble: Exception | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.trouble:
            raise self.trouble
        self.calls.append((*args, kwargs))
        return uuid4()


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(artifacts.artifacts, "create_progress_artifact", Recorder())
    monkeypatch.setattr(artifacts.artifacts, "update_progress_artifact", recorder)
    return recorder


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_progress_is_written_at_most_every_two_seconds_and_at_the_end(updates: Recorder) -> None:
    clock = Clock()
    bar = ProgressArtifact("films", "films", clock=clock)
    for step in range(1, 101):
        clock.now = step * 0.1  # ten updates a second for ten seconds
        bar.update(step / 100)
    sent = [call[1] for call in updates.calls]
    assert sent == [20, 40, 60, 80, 100]


def test_progress_says_what_is_done_and_never_leaves_its_range(updates: Recorder) -> None:
    bar = ProgressArtifact("films", "films", every_s=0)
    bar.update(-1, "s3://key:word@host/film")
    bar.update(7)
    assert [(call[1], call[2]["description"]) for call in updates.calls] == [
        (0, "0 %: s3://***@host/film"),
        (100, "100 %: s3://***@host/film"),
    ]


def test_a_refused_progress_write_does_not_end_the_job(
    updates: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    bar = ProgressArtifact("films", "films", every_s=0)
    updates.trouble = httpx.ConnectError("no route to http://user:word@host/api")
    bar.update(0.5)
    assert "progress could not be shown" in caplog.text
    assert "word" not in caplog.text
    updates.trouble = None
    bar.update(0.5)
    assert len(updates.calls) == 1


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(artifacts.artifacts, "create_table_artifact", recorder)
    return recorder


def test_outcome_table_shows_the_worst_first_and_says_what_it_leaves_out(tables: Recorder) -> None:
    rows = [{"item": f"film-{i}", "outcome": "ok"} for i in range(30)]
    rows += [{"item": "bad", "outcome": "failed", "reason": "not_media"}]
    rows += [{"item": "worse", "outcome": "crashed", "reason": "killed"}]
    create_outcome_table("outcomes", rows, "What became of the films.", max_rows=10)
    ((table, options),) = tables.calls
    assert [row["item"] for row in table[:3]] == ["worse", "bad", "film-0"]
    assert len(table) == 10
    assert table[2] == {"item": "film-0", "outcome": "ok", "reason": ""}
    assert "32 rows: 1 crashed, 1 failed, 30 ok." in options["description"]
    assert "22 are left out" in options["description"]


def test_cells_are_bounded_numbers_stay_numbers_and_nan_is_text(tables: Recorder) -> None:
    row = {"outcome": "ok", "n": 3, "share": 0.5, "psnr": float("nan"), "long": "x" * 5000}
    create_outcome_table("outcomes", [row], "")
    cells = tables.calls[0][0][0]
    assert (cells["n"], cells["share"], cells["psnr"]) == (3, 0.5, "nan")
    assert len(cells["long"]) == artifacts.MAX_CELL_CHARS


def test_no_secret_reaches_a_table(tables: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    row = {
        "outcome": "failed",
        "reason": "GET https://a:b@host?X-Amz-Signature=00ff&b=1 wJalrXUtnFEMI",
    }
    create_outcome_table("outcomes", [row], "with wJalrXUtnFEMI")
    sent = str(tables.calls)
    assert "wJalrXUtnFEMI" not in sent
    assert "a:b@" not in sent
    assert "00ff" not in sent
    assert "b=1" in sent


def test_a_report_within_bounds_is_left_as_it_is() -> None:
    report = f"# Title\n\n| a |\n|---|\n| 1 |\n\n![a picture]({PIXEL})\n\nend"
    assert bounded_markdown(report) == report


def test_large_pictures_and_those_beyond_the_room_become_captions() -> None:
    fits = f"data:image/png;base64,{'A' * 500_000}"
    too_large = f"data:image/png;base64,{'A' * 700_000}"
    pictures = [f"![large]({too_large})"] + [f"![number {i}]({fits})" for i in range(9)]
    shown = bounded_markdown("start\n\n" + "\n\n".join(pictures) + "\n\nend")
    assert shown.count("data:image") == 5
    assert "too large: large*" in shown
    assert "too large: number 8*" in shown
    assert shown.startswith("start")
    assert shown.endswith("end")
    assert len(shown) < artifacts.MAX_PICTURES_CHARS + 10_000


def test_a_report_that_is_too_long_is_cut_and_says_so() -> None:
    shown = bounded_markdown("word " * 100_000)
    assert len(shown) < artifacts.MAX_REPORT_CHARS + 100
    assert "too long" in shown


def test_no_secret_reaches_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "pnu_0123456789")
    shown = bounded_markdown(f"pnu_0123456789 s3://id:secret@x ![pnu_0123456789]({PIXEL})")
    assert "pnu_" not in shown
    assert "secret" not in shown
    assert PIXEL in shown
