"""`e3d consent`: what it enters, what it shows, and what it refuses before it begins."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from pipeline.errors import ConfigurationError
from pipeline.faces.backends import FaceNetworks
from pipeline.provenance import reference_face
from pipeline.provenance.consent import KnownFace
from storage.assets import AssetMissing

ADD = ["add", "--id", "anna", "--name", "Anna Actor", "--use", "dubbing", "--by", "office"]
UNTIL = ["--until", "2999-12-31", "--picture", "anna.jpg"]


def run(*words: object) -> str:
    """Return what a command that succeeds writes."""
    result = CliRunner().invoke(app, ["consent", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*words: object) -> str:
    result = CliRunner().invoke(app, ["consent", *map(str, words)])
    assert isinstance(result.exception, ConfigurationError)
    return str(result.exception)


@pytest.fixture
def store(tmp_path: Path) -> list[str]:
    return ["--store", str(tmp_path / "store")]


@pytest.fixture(autouse=True)
def pictures(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every picture shows one face; those looked at are noted."""
    seen: list[Path] = []

    def look(picture: Path, networks: FaceNetworks) -> KnownFace:
        assert networks.embedding is not None
        seen.append(picture)
        return KnownFace((0.6, 0.8), {"embedder": "arcface", "weights_sha256": "b7120c09"})

    monkeypatch.setattr(reference_face, "reference_face", look)
    return seen


@pytest.mark.parametrize("command", ["add", "list", "revoke"])
def test_help_teaches_by_two_examples(command: str) -> None:
    result = CliRunner().invoke(app, ["consent", command, "--help"])
    assert result.output.split("Examples")[1].count(f"e3d consent {command}") == 2


def test_a_consent_is_added_shown_and_revoked(store: list[str], pictures: list[Path]) -> None:
    added = json.loads(run(*ADD, *UNTIL, *store, "--json"))
    assert pictures == [Path("anna.jpg")]
    assert (added["name"], added["uses"], added["state"]) == ("Anna Actor", ["dubbing"], "in force")
    assert added["registered"]["by"] == "office"
    assert json.loads(run("list", *store, "--json")) == {"consents": [added]}
    revoked = json.loads(
        run("revoke", "anna", "--why", "asked for it", "--by", "legal", *store, "--json")
    )
    assert revoked["state"] == "revoked"
    assert (revoked["revoked"]["by"], revoked["revoked"]["why"]) == ("legal", "asked for it")
    text = run("list", *store)
    assert "anna:" in text
    assert "state: revoked" in text
    assert "why: asked for it" in text


def test_the_face_is_kept_as_numbers_that_are_not_shown(store: list[str]) -> None:
    shown = run(*ADD, *UNTIL, *store)
    assert "0.6" not in shown + run("list", *store)
    (entry,) = [path for path in Path(store[1]).rglob("*") if path.is_file()]
    assert json.loads(entry.read_text())["info"]["face"]["embedding"] == [0.6, 0.8]


def test_an_empty_registry_says_so(store: list[str]) -> None:
    assert run("list", *store) == "no consent is registered\n"
    assert json.loads(run("list", *store, "--json")) == {"consents": []}


def test_what_cannot_be_meant_is_refused_before_a_picture_is_looked_at(
    store: list[str], pictures: list[Path]
) -> None:
    words = [*ADD, *store]
    assert refusal(*words, "--until", "soon", "--picture", "a.jpg") == (
        "until is 'soon'; it must be a day such as 2027-12-31"
    )
    assert refusal(*words, *UNTIL, "--use", "acting") == (
        "use is 'acting'; allowed is dubbing, portrait"
    )
    assert pictures == []


def test_a_missing_network_is_told_as_everywhere(
    store: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*_: object) -> KnownFace:
        raise AssetMissing("mobilefacenet_128 is not here; run: e3d assets fetch mobilefacenet_128")

    monkeypatch.setattr(reference_face, "reference_face", look)
    result = CliRunner().invoke(app, ["consent", *ADD, *UNTIL, *store])
    assert isinstance(result.exception, AssetMissing)
    assert not Path(store[1]).exists()
