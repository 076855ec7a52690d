"""What a delivered film can prove of itself: its C2PA manifest and its two marks."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from model.inference.invisible_mark import Finding, MarkDetector, MarkKey
from pipeline.errors import ConfigurationError
from pipeline.provenance.manifest import ManifestReading, Standing, read_manifest
from preprocess.media.decode import decode_film
from preprocess.media.errors import UnusableFilm
from storage.identity import JSON

C2PA, INVISIBLE, VISIBLE = "c2pa manifest", "invisible mark", "visible mark"

LookForMark = Callable[[MarkKey], Finding]


class Verdict(StrEnum):
    """What came of one check."""

    HOLDS = "holds"
    LEFT_OFF = "left off"
    """Not there, as the signed manifest says: the job wanted it so."""
    FAILS = "fails"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Check:
    """One check's verdict, and why."""

    verdict: Verdict
    sentence: str


@dataclass(frozen=True)
class Verification:
    """The manifest as read, and a check of each of C2PA, INVISIBLE, VISIBLE."""

    manifest: ManifestReading
    checks: dict[str, Check]

    @property
    def holds(self) -> bool:
        """Whether a valid manifest of ours is there, and everything that it promises."""
        fine = {Verdict.HOLDS, Verdict.LEFT_OFF}
        return all(check.verdict in fine for check in self.checks.values())

    def to_json(self) -> dict[str, JSON]:
        """Plain values."""
        checks = {name: asdict(check) for name, check in self.checks.items()}
        return {"holds": self.holds, "checks": checks, "manifest": asdict(self.manifest)}


def verify_film(film: Path, key: MarkKey | None, anchors_pem: str | None = None) -> Verification:
    """Check all that can be checked without the original.

    key: of the invisible mark, None where this machine has none. anchors_pem: authorities that are
    trusted; with them, who signed without their word is refused. Raises ConfigurationError for a
    file that cannot be read.
    """
    try:
        manifest = read_manifest(film, anchors_pem)
    except OSError as error:
        raise ConfigurationError(f"{film} cannot be read: {error.strerror}") from error
    return judged(
        manifest,
        key,
        lambda wanted: find_mark(film, wanted),
        trust_needed=anchors_pem is not None,
    )


def find_mark(film: Path, key: MarkKey) -> Finding:
    """Look for a key's mark in every frame of a film. Raises UnusableFilm."""
    detector = MarkDetector(key)
    for frame in decode_film(film):
        detector.see(frame.rgb)
    return detector.finding()


def judged(
    manifest: ManifestReading, key: MarkKey | None, look: LookForMark, *, trust_needed: bool
) -> Verification:
    """Judge what was read; `look` is called where a mark has to be looked for."""
    checks = {
        C2PA: _judge_manifest(manifest, trust_needed=trust_needed),
        INVISIBLE: _judge_invisible(manifest, key, look),
        VISIBLE: _judge_visible(manifest),
    }
    return Verification(manifest, checks)


def _judge_manifest(manifest: ManifestReading, *, trust_needed: bool) -> Check:
    if manifest.standing is Standing.ABSENT:
        return Check(
            Verdict.FAILS, "the file has no C2PA manifest: it has none, or it was taken out"
        )
    if manifest.standing is Standing.BROKEN:
        return Check(Verdict.FAILS, "; ".join(manifest.failures) or "the manifest is not valid")
    if manifest.claim is None:
        return Check(Verdict.FAILS, "the manifest is valid, and is not one of a delivered film")
    if manifest.trusted:
        return Check(Verdict.HOLDS, "the signature is valid, and its issuer is trusted")
    doubt = f"the signature is valid, and its issuer ({manifest.issuer}) is not trusted"
    if trust_needed:
        return Check(Verdict.FAILS, f"{doubt} by the configured authorities")
    return Check(Verdict.HOLDS, f"{doubt}: anybody can make such a certificate")


def _judge_visible(manifest: ManifestReading) -> Check:
    """Believe the signed manifest: letters in a picture say nothing of who wrote them."""
    claim = manifest.claim if manifest.standing is Standing.VALID else None
    if claim is None:
        return Check(Verdict.UNKNOWN, "only a valid manifest could tell; look at the picture")
    if claim.visible_mark:
        return Check(Verdict.HOLDS, "it was written on every frame, says the signed manifest")
    return Check(Verdict.LEFT_OFF, "the job left it off, says the signed manifest")


def _judge_invisible(manifest: ManifestReading, key: MarkKey | None, look: LookForMark) -> Check:
    """Look for the mark; also without a manifest, which is lost more easily than the mark."""
    claim = manifest.claim if manifest.standing is Standing.VALID else None
    if claim is not None and claim.mark_key is None:
        return Check(Verdict.LEFT_OFF, "the job left it off, says the signed manifest")
    if key is None:
        return Check(Verdict.UNKNOWN, "there is no key on this machine to look for it with")
    if claim is not None and claim.mark_key != key.name:
        return Check(
            Verdict.UNKNOWN,
            f"it was made with key {claim.mark_key}, and this machine has key {key.name}",
        )
    try:
        finding = look(key)
    except UnusableFilm as found:
        return Check(Verdict.UNKNOWN, f"the pictures cannot be read: {found.detail}")
    seen = f"in {finding.frames} frames, z = {finding.z:.1f}"
    if finding.marked:
        return Check(
            Verdict.HOLDS,
            f"found with key {key.name} {seen}; chance would give that with a probability of at "
            f"most {finding.false_alarm:.0e}",
        )
    return Check(Verdict.FAILS, f"not found with key {key.name} {seen}")
