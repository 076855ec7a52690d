"""The signing of a rendered film, once: what is committed first is what is delivered.

Signatures are not the same twice, so they are no part of the render. Its bytes stay a pure function
of its key; the signed file has a commit of its own, which a later run finds and delivers again.
"""

import time
from pathlib import Path

from pipeline.clock import utc_now
from pipeline.provenance.certificates import SigningIdentity
from pipeline.provenance.claim import Claim
from pipeline.provenance.manifest import SigningError, Standing, read_manifest, sign_film
from storage.identity import digest
from storage.ledger import Commit, Ledger

SIGN = "sign"
_VERSION = 1


def signed_key(rendered: Commit, name: str, claim: Claim, identity: SigningIdentity) -> str:
    """Return the ledger key of a rendered film's output `name`, signed."""
    return digest(
        {
            "stage": SIGN,
            "version": _VERSION,
            "film_sha256": rendered.output(name).sha256,
            "claim": claim.to_json(),
            "certificates_sha256": identity.digest,
        }
    )


def signed_delivery(
    ledger: Ledger, rendered: Commit, name: str, claim: Claim, identity: SigningIdentity,
    folder: Path,
) -> Commit:  # fmt: skip
    """Return the commit of a rendered film's output `name`, signed; signs it where that lacks.

    The commit's output has the same name; `info` holds the manifest's id and the issuer. folder:
    for copies, which are removed. Raises SigningError where the certificate or the film is refused,
    or the finished file would not be believed.
    """
    output, key = rendered.output(name), signed_key(rendered, name, claim, identity)
    if found := ledger.find(SIGN, key):
        return found
    started_at = utc_now()
    started_s = time.monotonic()
    film, signed = ledger.fetch(output, folder), folder / f"signed-{name}"
    try:
        sign_film(film, signed, claim, identity)
        read = read_manifest(signed)
        if read.standing is not Standing.VALID or read.claim != claim:
            raise SigningError(
                f"{name} was signed, and cannot be verified: {'; '.join(read.failures)}"
            )
        return ledger.commit(
            SIGN,
            key,
            outcome="ok",
            files={name: signed},
            parents=[rendered.key, *([claim.consent] if claim.consent else [])],
            info={"manifest": read.manifest_id, "issuer": read.issuer},
            started_at=started_at,
            seconds=time.monotonic() - started_s,
        )
    finally:
        film.unlink()
        signed.unlink(missing_ok=True)
