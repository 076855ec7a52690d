import importlib.metadata
import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import doctor, machine
from flows.cli.doctor import check_assets, check_prefect, check_store
from flows.cli.machine import Check, check_disk, check_native, check_packages
from flows.cli.main import app
from flows.server import PrefectServer
from storage import assets
from storage.folder import FolderStore


@pytest.fixture
def few_checks(monkeypatch: pytest.MonkeyPatch) -> list[Check]:
    found = [Check("python", "ok", "3.11"), Check("gpu", "warning", "none", "none is needed")]
    monkeypatch.setattr(doctor, "examine", lambda store: iter(found))
    return found


def test_a_machine_with_all_that_is_needed_is_ready(few_checks: list[Check]) -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert "Ready." in result.output
    assert "-> none is needed" in result.output


def test_what_is_missing_is_named_with_what_to_do(
    few_checks: list[Check], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "pnu_0123456789")
    few_checks.append(Check("store", "missing", "pnu_0123456789 is refused", "ask its owner"))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 2
    assert "Not ready; missing: store." in result.output
    assert "-> ask its owner" in result.output
    report = CliRunner().invoke(app, ["doctor", "--json"])
    assert report.exit_code == 2
    told = json.loads(report.stdout)
    assert not told["ready"]
    assert told["checks"][2]["state"] == "missing"
    assert "pnu_" not in result.output + report.stdout


def test_the_real_machine_is_examined_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is found depends on the machine; that every part is looked at does not."""
    monkeypatch.setenv("E3D_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    result = CliRunner().invoke(app, ["doctor", "--json", "--store", str(tmp_path / "store")])
    checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    wanted = {"python", "cores", "memory", "/dev/shm", "scratch", "home", "packages", "torch"}
    wanted |= {"decord", "av", "ray", "gpu", "ffmpeg", "ffprobe", "prefect", "face_landmarker"}
    assert checks.keys() > wanted | {"store", "can run"}
    assert checks["store"]["state"] == "ok"
    assert checks["torch"]["state"] == "ok"
    missing = [name for name, check in checks.items() if check["state"] == "missing"]
    assert result.exit_code == (2 if missing else 0)


def test_a_package_outside_its_range_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["fastapi<0.151", "sqlalchemy<2.1", "nonsense>=1", 'pytest>=99; extra == "dev"']
    versions = {"fastapi": "0.165", "sqlalchemy": "2.0.58"}
    real = importlib.metadata.version

    def version(name: str) -> str:
        return versions.get(name) or real(name)

    monkeypatch.setattr(machine.importlib.metadata, "requires", lambda name: wanted)
    monkeypatch.setattr(machine.importlib.metadata, "version", version)
    check = check_packages()
    assert check.state == "missing"
    assert check.detail == "fastapi 0.165 is not <0.151; nonsense is not installed"


def test_a_package_that_kills_its_process_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [{"name": "torch", "state": "trying", "detail": ""}]
    said += [{"name": "torch", "state": "works", "detail": "2.13"}]
    said += [{"name": "decord", "state": "trying", "detail": ""}]
    died = subprocess.CompletedProcess([], -4, "\n".join(map(json.dumps, said)), "")
    monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: died)
    checks = {check.name: check for check in check_native()}
    assert checks["torch"].state == "ok"
    assert checks["decord"].state == "missing"
    assert "-4" in checks["decord"].detail
    assert "av" not in checks


def test_a_folder_that_cannot_be_made_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check = check_disk("scratch", tmp_path / "file" / "scratch", "E3D_SCRATCH")
    assert check.state == "missing"
    assert "E3D_SCRATCH" in check.remedy


def test_the_needed_asset_is_needed_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("E3D_CACHE", str(tmp_path))
    monkeypatch.delenv("E3D_MODELS", raising=False)
    needed, others = check_assets()
    assert (needed.name, needed.state) == ("face_landmarker", "missing")
    assert "e3d assets fetch face_landmarker" in needed.remedy
    assert others.state == "ok"
    assert all(name in others.detail for name in assets.REGISTRY if name != "face_landmarker")


def test_a_store_that_overwrites_or_cannot_be_reached_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_store(str(tmp_path / "store")).state == "ok"
    (tmp_path / "file").write_text("")
    assert check_store(str(tmp_path / "file" / "store")).state == "missing"
    monkeypatch.setattr(FolderStore, "create", lambda self, key, data: self.put(key, data) or True)
    assert check_store(str(tmp_path / "store")).state == "missing"


def test_the_prefect_server_is_looked_for(
    prefect_api: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_prefect().state == "ok"
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert check_prefect().state == "missing"
    monkeypatch.delenv("PREFECT_API_URL")
    assert prefect_api.ui_url in check_prefect().detail
