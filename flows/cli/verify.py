"""`e3d verify`: what a film can prove of itself."""

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.exit_code import ExitCode
from flows.cli.session import AsJson, show

if TYPE_CHECKING:
    from pipeline.provenance.claim import Claim
    from pipeline.provenance.manifest import ManifestReading
    from pipeline.provenance.verify import Verification

_MADE = {
    "trainedAlgorithmicMedia": "a clip that a trained network generated as a whole",
    "compositeWithTrainedAlgorithmicMedia": "a film with faces that a trained network generated",
}


def verify(
    file: Annotated[Path, typer.Argument(help="A delivered film, or any other.")],
    store: Annotated[
        str | None,
        typer.Option(help="Where the consent is registered; then its name and state are told."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a film's C2PA manifest and its marks, and tell who and what is in it, made from what.

    The original is not needed. Exit code 3 when something does not hold or cannot be checked.
    """
    from pipeline.home import e3d_home
    from pipeline.provenance.certificates import trust_anchors
    from pipeline.provenance.mark_key import known_mark_key
    from pipeline.provenance.verify import verify_film

    verified = verify_film(file, known_mark_key(e3d_home()), trust_anchors())
    person = _person(store, verified.manifest.claim)
    result = {"file": str(file), **verified.to_json(), "person": person}
    show(result, _text(file, verified, person), as_json=as_json)
    if not verified.holds:
        raise typer.Exit(ExitCode.FAILURES)


def _person(store: str | None, claim: "Claim | None") -> str | None:
    """Return who a consent names, and whether it is in force now; None where nobody is asked."""
    if store is None or claim is None or claim.consent is None:
        return None
    from pipeline.provenance.consent_registry import find_consent
    from storage.ledger import Ledger
    from storage.store import open_store

    consent = find_consent(Ledger(open_store(store)), claim.consent)
    if consent is None:
        return "nobody of whom this store knows"
    return f"{consent.name}, {consent.state(datetime.datetime.now(datetime.UTC))} now"


def _text(file: Path, verified: "Verification", person: str | None) -> str:
    verdict = "everything holds" if verified.holds else "NOT everything holds"
    lines = [f"{file}: {verdict}"]
    lines += [f"{name}: {one.verdict}: {one.sentence}" for name, one in verified.checks.items()]
    return "\n".join([*map(_printable, lines), *_story(verified.manifest, person)])


def _story(manifest: "ManifestReading", person: str | None) -> list[str]:
    """Return who, what, and from which sources; nothing where no manifest of ours tells."""
    from pipeline.provenance.manifest import Standing

    claim = manifest.claim
    if claim is None:
        return []
    head = "the manifest says:"
    if manifest.standing is not Standing.VALID:
        head = "the manifest says, and proves nothing:"
    of = f" ({person})" if person else ""
    told = {
        "who": f"consent {claim.consent}{of}" if claim.consent else "no consent is named",
        "what": _MADE.get(manifest.source_type or "", "of a kind that is not told"),
        "shot": f"{claim.shot} of job {claim.job}",
        "portrait" if claim.mode == "portrait" else "film": f"sha256 {claim.still_sha256}",
        "performance": f"sha256 {claim.performance_sha256}",
        "weights": f"{claim.weights_key} of run {claim.run}",
        "dataset": claim.dataset_key,
        "recipe": claim.recipe_digest,
        "made by": manifest.generator or "not told",
        "signed by": manifest.issuer or "not told",
        "manifest": manifest.manifest_id or "not told",
    }
    return [head, *(f"  {_printable(f'{name}: {value}')}" for name, value in told.items())]


def _printable(text: str) -> str:
    """Return foreign text without signs that move a terminal's cursor or change its colours."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
