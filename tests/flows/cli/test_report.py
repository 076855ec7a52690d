"""`e3d report`: the page, the file and the JSON are one and the same report."""

import json
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.cli.main import app
from pipeline import dataset as datasets
from pipeline.errors import ConfigurationError
from pipeline.reports.dataset import dataset_report
from storage.ledger import Ledger
from storage.store import open_store
from tests.flows.command import e3d
from tests.flows.report_page import pictures_of


def tables_of(page: str) -> list[list[list[str]]]:
    """Texts of all cells of all tables of a page."""
    return [
        [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in table.split("<tr>")[1:]]
        for table in re.findall(r"<table>(.*?)</table>", page, re.DOTALL)
    ]


def invoke(*words: object) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, words)])


def test_the_page_lies_in_the_store_and_in_the_file(own_store: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.html"
    result = invoke("small", "--store", own_store, "--out", out)
    assert result.exit_code == 0
    inside = own_store / "reports" / "datasets" / "small.html"
    assert f"report -> {inside}" in result.output.replace("file://", "")
    assert f"report -> {out}" in result.output
    assert "2 films: 2 ok." in result.output
    assert out.read_bytes() == inside.read_bytes()
    ledger = Ledger(open_store(str(own_store)))
    whole = dataset_report(ledger, "small", datasets.load(ledger, "small"))
    assert out.read_text("utf-8") == whole.html()
    assert len(pictures_of(out.read_text("utf-8"))) == 8


def test_json_has_the_numbers_of_the_page(own_store: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.html"
    result = invoke("small", "--store", own_store, "--out", out, "--json")
    told = json.loads(result.stdout)
    assert told["file"] == str(out)
    counts, films, coverage = tables_of(out.read_text("utf-8"))
    shown = {(what, name): int(count) for what, name, count, _ in counts[1:]}
    assert shown == {
        (kind, name): count
        for kind in ("films", "clips", "frames")
        for name, count in told[kind].items()
    }
    assert [row[0] for row in films[1:]] == [film["name"] for film in told["film_rows"]]
    assert [row[6] for row in films[1:]] == [
        f"{film['frames_ok']}/{film['frames_of']}" for film in told["film_rows"]
    ]
    assert [row[1:4] for row in coverage[1:]] == [
        [f"{values[name]:.3g}" for name in ("p5", "p50", "p95")]
        for values in told["coverage"]["percentiles"].values()
    ]


def test_neither_prefect_nor_ray_is_needed(own_store: Path) -> None:
    ended = e3d(
        "report", "small", "--store", own_store, "--json", PREFECT_API_URL="http://127.0.0.1:1/api"
    )
    assert ended.code == 0, ended.err
    assert ended.result["films"] == {"ok": 2}
    assert "Prefect" not in ended.err


def test_an_unknown_dataset_is_answered_with_those_there_are(own_store: Path) -> None:
    ended = e3d("report", "smal", "--store", own_store)
    assert ended.code == 2
    assert "there is no dataset 'smal'" in ended.sentence
    assert "small" in ended.sentence


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_a_file_that_cannot_be_written_is_one_sentence(own_store: Path, tmp_path: Path) -> None:
    absent = invoke("small", "--store", own_store, "--out", tmp_path / "no" / "page.html")
    assert isinstance(absent.exception, ConfigurationError)
    assert "its folder does not exist" in str(absent.exception)
    full = invoke("small", "--store", own_store, "--out", "/dev/full")
    assert isinstance(full.exception, ConfigurationError)
    assert str(full.exception) == "--out is '/dev/full': No space left on device"


def test_help_teaches_by_two_examples() -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    assert result.output.split("Examples")[1].count("e3d report") == 2
