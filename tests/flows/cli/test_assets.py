import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from pipeline.errors import ConfigurationError
from storage import assets
from storage.assets import Asset

PAYLOAD = b"weights"
FREE = Asset(
    "free", "free.bin", "trials", "MIT", "Do as you like.",
    size=len(PAYLOAD), sha256=hashlib.sha256(PAYLOAD).hexdigest(),
)  # fmt: skip
BOUND = Asset(
    "bound", "bound.bin", "research", "research only", "For research alone.", non_commercial=True,
    size=len(PAYLOAD), sha256=hashlib.sha256(PAYLOAD).hexdigest(),
)  # fmt: skip


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a mirror that has both files of a catalogue of two."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for asset in (FREE, BOUND):
        (mirror / asset.filename).write_bytes(PAYLOAD)
    monkeypatch.setenv("E3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("E3D_ASSET_MIRROR", str(mirror))
    monkeypatch.delenv("E3D_MODELS", raising=False)
    for name in list(assets.REGISTRY):
        monkeypatch.delitem(assets.REGISTRY, name)
    monkeypatch.setitem(assets.REGISTRY, "free", FREE)
    monkeypatch.setitem(assets.REGISTRY, "bound", BOUND)
    return tmp_path / "cache" / "assets"


def test_list_shows_state_and_licence_of_every_file(cache: Path) -> None:
    result = CliRunner().invoke(app, ["assets", "list", "--json"])
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows.keys() == {"free", "bound"}
    assert rows["bound"]["status"] == "missing"
    assert rows["bound"]["non_commercial"]
    table = CliRunner().invoke(app, ["assets", "list"]).stdout
    assert "research only" in table


def test_fetch_puts_a_verified_file_in_the_cache_and_shows_its_licence(cache: Path) -> None:
    result = CliRunner().invoke(app, ["assets", "fetch", "free"])
    assert result.exit_code == 0
    assert "Do as you like." in result.stderr
    assert (cache / "free.bin").read_bytes() == PAYLOAD


def test_non_commercial_files_are_fetched_on_accepted_terms_alone(cache: Path) -> None:
    refused = CliRunner().invoke(app, ["assets", "fetch", "bound"])
    assert isinstance(refused.exception, ConfigurationError)
    assert "For research alone." in refused.stderr
    assert "--accept-licence" in str(refused.exception)
    assert not (cache / "bound.bin").exists()
    accepted = CliRunner().invoke(app, ["assets", "fetch", "bound", "--accept-licence"])
    assert accepted.exit_code == 0
    assert (cache / "bound.bin").exists()


def test_without_names_restricted_files_are_left_alone(cache: Path) -> None:
    assert CliRunner().invoke(app, ["assets", "fetch", "--json"]).exit_code == 0
    assert not (cache / "bound.bin").exists()


def test_verify_finds_damage_and_what_is_named_and_missing(cache: Path) -> None:
    CliRunner().invoke(app, ["assets", "fetch", "free"])
    assert CliRunner().invoke(app, ["assets", "verify"]).exit_code == 0
    assert CliRunner().invoke(app, ["assets", "verify", "bound"]).exit_code == 2
    (cache / "free.bin").write_bytes(b"damaged")
    result = CliRunner().invoke(app, ["assets", "verify"])
    assert result.exit_code == 2
    assert "sha256" in result.stderr


def test_an_unknown_name_is_bad_use(cache: Path) -> None:
    result = CliRunner().invoke(app, ["assets", "verify", "nonsense"])
    assert isinstance(result.exception, ConfigurationError)
    assert "nonsense" in str(result.exception)
