"""C2PA manifests: signed into a delivered film as the last thing, and read from any film.

The bytes of a signed film are not the same twice: C2PA salts every assertion and signs with
chance. Everything else is; `sha256_without_manifest` tells.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

import c2pa

from pipeline.provenance.certificates import SigningIdentity
from pipeline.provenance.claim import ASSERTION, Claim, definition

_MP4 = "video/mp4"
_UNTRUSTED = "signingCredential.untrusted"
_C2PA_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_BLOCK_BYTES = 1 << 20


class SigningError(Exception):
    """A film could not be signed: one sentence, without the key."""


class Standing(StrEnum):
    """What became of a manifest."""

    ABSENT = "absent"
    VALID = "valid"
    BROKEN = "broken"


@dataclass(frozen=True)
class ManifestReading:
    """What a film's manifest says, and whether that may be believed.

    trusted: a configured authority vouches for the signer; a development certificate is never
    trusted. failures: what does not fit, for people. claim: ours, None in manifests of others. Of a
    broken manifest nothing is proven.
    """

    standing: Standing
    trusted: bool = False
    failures: tuple[str, ...] = ()
    claim: Claim | None = None
    manifest_id: str | None = None
    generator: str | None = None
    issuer: str | None = None
    source_type: str | None = None


def sign_film(film: Path, target: Path, claim: Claim, identity: SigningIdentity) -> None:
    """Write `film` (mp4) with a signed manifest to `target`, which appears whole or not at all.

    Nothing is asked of the network: the signature has no time stamp of an authority. Raises
    SigningError where C2PA refuses the certificate or the file.
    """
    # No time-stamp authority: None, for an empty address fails without saying why.
    info = c2pa.C2paSignerInfo(
        identity.algorithm, identity.chain_pem.encode(), identity.key_pem, None
    )
    part = target.with_name(f".{target.name}.part")
    try:
        with (
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(definition(claim), context=_offline(None)) as builder,
            film.open("rb") as source,
            part.open("w+b") as signed,
        ):
            builder.sign(signer, _MP4, source, signed)
        part.replace(target)
    except c2pa.C2paError as error:
        raise SigningError(f"{target.name} cannot be signed: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def read_manifest(film: Path, anchors_pem: str | None = None) -> ManifestReading:
    """Check a film's manifest against its bytes.

    anchors_pem: authorities that are trusted. Nothing is asked of the network. Raises OSError for a
    file that cannot be read.
    """
    with film.open("rb") as file:
        try:
            reader = c2pa.Reader.try_create(_MP4, file, context=_offline(anchors_pem))
        except c2pa.C2paError as error:
            return ManifestReading(
                Standing.BROKEN, failures=(f"the file is damaged, or no mp4: {error}",)
            )
        if reader is None:
            return ManifestReading(Standing.ABSENT)
        with reader:
            told: dict[str, Any] = json.loads(reader.json())
            state = reader.get_validation_state()
    return _reading(told, state)


def sha256_without_manifest(film: Path) -> str:
    """Digest of an mp4 without its C2PA box: equal for one film signed twice with one claim.

    A film before it is signed has another one, because the manifest moves its data. Raises OSError
    for a file that cannot be read.
    """
    hasher = hashlib.sha256()
    with film.open("rb") as file:
        for start, end in _boxes(file, film.stat().st_size):
            file.seek(start)
            head = file.read(24)
            if head[4:8] == b"uuid" and head[8:] == _C2PA_UUID:
                continue
            file.seek(start)
            for at in range(start, end, _BLOCK_BYTES):
                hasher.update(file.read(min(_BLOCK_BYTES, end - at)))
    return hasher.hexdigest()


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
    """Give where the boxes of an mp4 begin and end; what is no box counts as a last one."""
    start = 0
    while start < size:
        file.seek(start)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:  # the length is in the eight bytes after the name
            length = int.from_bytes(head[8:16], "big")
        end = start + length if 8 <= length <= size - start else size
        yield start, end
        start = end


def _reading(told: dict[str, Any], state: str | None) -> ManifestReading:
    manifest_id = told.get("active_manifest")
    manifest = told.get("manifests", {}).get(manifest_id, {})
    results = told.get("validation_results", {})
    failed = results.get("activeManifest", {}).get("failure", [])
    for ingredient in results.get("ingredientDeltas", []):
        failed += ingredient.get("validationDeltas", {}).get("failure", [])
    failures = [
        f"{one.get('code')}: {one.get('explanation', '')}"
        for one in failed
        if one.get("code") != _UNTRUSTED
    ]
    believed = state in {"Valid", "Trusted"}
    data = {one["label"]: one.get("data", {}) for one in manifest.get("assertions", [])}
    generators = manifest.get("claim_generator_info") or [{}]
    return ManifestReading(
        standing=Standing.VALID if believed else Standing.BROKEN,
        trusted=state == "Trusted",
        failures=tuple(failures),
        claim=_claim(data.get(ASSERTION)),
        manifest_id=manifest_id,
        generator=" ".join(
            str(generators[0][key]) for key in ("name", "version") if key in generators[0]
        ),
        issuer=manifest.get("signature_info", {}).get("issuer"),
        source_type=_source_type(data),
    )


def _claim(data: Any) -> Claim | None:
    try:
        return Claim.from_json(data)
    except ValueError:
        return None


def _source_type(data: dict[str, Any]) -> str | None:
    actions: dict[str, Any] = next(
        (data[one] for one in data if one.startswith("c2pa.actions")), {}
    )
    types = [action.get("digitalSourceType") for action in actions.get("actions", [])]
    return next((str(one).rsplit("/", 1)[-1] for one in types if one), None)


def _offline(anchors_pem: str | None) -> c2pa.Context:
    settings: dict[str, Any] = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
    if anchors_pem:
        settings["trust"] = {"trust_anchors": anchors_pem}
    return c2pa.Context(c2pa.Settings.from_dict(settings))
