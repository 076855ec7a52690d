"""`e3d facemodel`: what it writes, what it shows, and what it refuses before it begins."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from pipeline.errors import ConfigurationError
from pipeline.faces import model_build
from pipeline.faces.model_build import BuiltFaceModel
from preprocess.face3d.mesh478 import SHIPPED, read_mesh478


def run(*words: object) -> tuple[str, str]:
    """Return what a command that succeeds writes to stdout and stderr."""
    result = CliRunner().invoke(app, ["facemodel", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout, result.stderr


def refusal(*words: object) -> str:
    result = CliRunner().invoke(app, ["facemodel", *map(str, words)])
    assert isinstance(result.exception, ConfigurationError)
    return str(result.exception)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[Path]]]:
    """Building gives the shipped file at once; calls are noted as (dataset, portraits)."""
    calls: list[tuple[str, list[Path]]] = []

    def build(ledger: object, dataset: str, portraits: list[Path], *, report) -> BuiltFaceModel:
        calls.append((dataset, list(portraits)))
        report("film 1 of 1")
        return BuiltFaceModel(SHIPPED.read_bytes(), {}, ("a and b are alike",))

    monkeypatch.setattr(model_build, "build_face_model", build)
    return calls


@pytest.mark.parametrize("command", ["build", "show"])
def test_help_teaches_by_two_examples(command: str) -> None:
    result = CliRunner().invoke(app, ["facemodel", command, "--help"])
    assert result.output.split("Examples")[1].count(f"e3d facemodel {command}") == 2


def test_show_tells_of_the_shipped_model(tmp_path: Path) -> None:
    card = read_mesh478().face.card
    told = json.loads(run("show", "--json")[0])
    assert told["card"] == card
    assert (told["identity"], told["expression"]) == (40, 64)
    text = run("show")[0]
    assert f"persons: {card['persons']}" in text
    assert f"residual_iod: {card['left_out']['residual_iod']}" in text
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(SHIPPED.read_bytes())
    assert json.loads(run("show", copy, "--json")[0]) == {**told, "file": str(copy)}


def test_build_writes_the_file_and_tells_its_numbers(
    tmp_path: Path, built: list[tuple[str, list[Path]]]
) -> None:
    out = tmp_path / "face.safetensors"
    words = ["build", "actors", "--store", tmp_path, "--out", out, "--portrait", "a.png"]
    stdout, stderr = run(*words, "--portrait", "b.png", "--json")
    assert built == [("actors", [Path("a.png"), Path("b.png")])]
    assert out.read_bytes() == SHIPPED.read_bytes()
    assert stderr.splitlines() == ["film 1 of 1", "in doubt: a and b are alike"]
    told = json.loads(stdout)
    assert told["card"] == read_mesh478().face.card
    assert told["doubts"] == ["a and b are alike"]
    assert [path.name for path in tmp_path.iterdir()] == ["face.safetensors"]


def test_a_file_is_replaced_only_on_demand(
    tmp_path: Path, built: list[tuple[str, list[Path]]]
) -> None:
    out = tmp_path / "face.safetensors"
    out.write_text("mine")
    words = ["build", "actors", "--store", tmp_path, "--out", out]
    assert refusal(*words) == f"{out} is there already; to replace it: --force"
    assert (out.read_text(), built) == ("mine", [])
    run(*words, "--force")
    assert out.read_bytes() == SHIPPED.read_bytes()


def test_a_missing_folder_is_told_before_the_work(
    tmp_path: Path, built: list[tuple[str, list[Path]]]
) -> None:
    said = refusal("build", "actors", "--store", tmp_path, "--out", tmp_path / "no" / "face")
    assert str(tmp_path / "no") in said
    assert built == []


def test_an_unknown_dataset_is_told(tmp_path: Path) -> None:
    said = refusal("build", "actors", "--store", tmp_path / "store", "--out", tmp_path / "face")
    assert "there is no dataset 'actors'" in said
    assert not (tmp_path / "face").exists()


@pytest.mark.parametrize(("content", "sentence"), [(None, "cannot be read"), ("x", "not a face")])
def test_what_is_no_face_model_is_not_shown(
    tmp_path: Path, content: str | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / "face").write_text(content)
    assert sentence in refusal("show", tmp_path / "face")
