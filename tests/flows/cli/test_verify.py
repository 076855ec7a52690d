"""`e3d verify`: what it says of a film, and how it ends."""

import datetime
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from model.inference.invisible_mark import Finding
from pipeline.errors import ConfigurationError
from pipeline.provenance import verify
from pipeline.provenance.claim import Claim
from pipeline.provenance.consent import KnownFace, Use
from pipeline.provenance.consent_registry import register_consent, revoke_consent
from pipeline.provenance.manifest import ManifestReading, Standing
from pipeline.provenance.mark_key import mark_key
from storage.ledger import Ledger
from storage.store import open_store

NOW = datetime.datetime.now(datetime.UTC)


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["verify", *map(str, words)], catch_exceptions=False)
    return result.exit_code, result.stdout


@pytest.fixture
def film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file whose manifest is read as valid, and whose mark is found; with a key at home."""
    home = tmp_path / "home"
    monkeypatch.setenv("E3D_HOME", str(home))
    for variable in ("E3D_MARK_KEY_FILE", "E3D_C2PA_ANCHORS"):
        monkeypatch.delenv(variable, raising=False)
    claim = Claim(
        "film", "reel-7", "shot-010", "a" * 64, "b" * 64, "first", "c" * 64, "d" * 64, "e" * 64,
        "anna", visible_mark=True, mark_key=mark_key(home, {}).name,
    )  # fmt: skip
    read = ManifestReading(
        Standing.VALID,
        claim=claim,
        issuer="some\x1b[2Jbody",
        source_type="compositeWithTrainedAlgorithmicMedia",
    )
    monkeypatch.setattr(verify, "read_manifest", lambda *_: read)
    monkeypatch.setattr(verify, "find_mark", lambda *_: Finding(9.0, 3e-18, 100))
    return tmp_path / "film.mp4"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store in which Anna has agreed."""
    register_consent(
        Ledger(open_store(str(tmp_path / "store"))),
        consent_id="anna",
        name="Anna Actor",
        uses=(Use.DUBBING,),
        until=datetime.date(2999, 1, 1),
        face=KnownFace((1.0,), {"embedder": "arcface"}),
        by="office",
        now=NOW,
    )
    return tmp_path / "store"


def test_help_teaches_by_two_examples() -> None:
    result = CliRunner().invoke(app, ["verify", "--help"])
    assert result.output.split("Examples")[1].count("e3d verify") == 2


def test_a_film_that_holds_tells_who_what_and_from_which_sources(film: Path) -> None:
    code, told = run(film)
    assert code == 0
    assert f"{film}: everything holds" in told
    assert "who: consent anna" in told
    assert "what: a film with faces that a trained network generated" in told
    for source in ("a", "b", "c", "d", "e"):
        assert source * 64 in told
    assert "\x1b" not in told


def test_the_store_tells_who_agreed_and_whether_that_still_stands(film: Path, store: Path) -> None:
    assert "who: consent anna (Anna Actor, in force now)" in run(film, "--store", store)[1]
    revoke_consent(Ledger(open_store(str(store))), "anna", why="x", by="legal", now=NOW)
    code, told = run(film, "--store", store)
    assert (code, "(Anna Actor, revoked now)" in told) == (0, True)
    other = store.with_name("other")
    assert "(nobody of whom this store knows)" in run(film, "--store", other)[1]


def test_json_has_everything(film: Path) -> None:
    code, told = run(film, "--json")
    result = json.loads(told)
    assert (code, result["holds"], result["file"]) == (0, True, str(film))
    assert [one["verdict"] for one in result["checks"].values()] == ["holds"] * 3
    assert result["manifest"]["claim"]["consent"] == "anna"


def test_what_does_not_hold_ends_with_code_3(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "find_mark", lambda *_: Finding(2.0, 1.0, 100))
    code, told = run(film)
    assert code == 3
    assert f"{film}: NOT everything holds" in told
    assert "invisible mark: fails: not found" in told


def test_a_file_without_manifest_ends_with_code_3(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "read_manifest", lambda *_: ManifestReading(Standing.ABSENT))
    code, told = run(film)
    assert code == 3
    assert "the file has no C2PA manifest" in told
    assert "the manifest says" not in told


def test_a_file_that_is_not_there_is_bad_use(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["verify", str(tmp_path / "absent.mp4")])
    assert isinstance(result.exception, ConfigurationError)


def test_looking_makes_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("E3D_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("E3D_MARK_KEY_FILE", raising=False)
    (tmp_path / "text.mp4").write_text("This is no film.")
    assert run(tmp_path / "text.mp4")[0] == 3
    assert not (tmp_path / "home").exists()
