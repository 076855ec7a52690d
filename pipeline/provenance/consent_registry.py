"""Consents in the store. Both entries, the record and its revocation, are made once and for all.

They are commits and not named values: a commit's key can be taken once only, so no later entry,
and no other writer at the same moment, can change what a person agreed to. Renders can name a
record as a parent.
"""

import datetime
from dataclasses import asdict, replace

from pipeline.errors import ConfigurationError, usable_name
from pipeline.provenance.consent import Consent, KnownFace, Revocation, Use
from storage.identity import JSON, canonical_json
from storage.ledger import Ledger
from storage.store import StoreError

CONSENT, REVOCATION = "consent", "consent-revocation"
"""Stages of the ledger; the key is the consent's id."""
_LONGEST_TEXT = 200


def register_consent(
    ledger: Ledger,
    *,
    consent_id: str,
    name: str,
    uses: tuple[Use, ...],
    until: datetime.date,
    face: KnownFace,
    by: str,
    now: datetime.datetime,
) -> Consent:
    """Record what a person agreed to, and return it.

    Raises ConfigurationError for an id that is taken, for no use, an end in the past, and for
    names that are empty, long or of several lines.
    """
    usable_name(consent_id, "id")
    if not uses:
        raise ConfigurationError(f"use is empty; allowed is {', '.join(Use)}")
    if until < now.astimezone(datetime.UTC).date():
        raise ConfigurationError(f"until is {until.isoformat()}; that day is over")
    consent = Consent(
        id=consent_id,
        name=_line(name, "name"),
        uses=tuple(sorted(set(uses))),
        until=until,
        face=face,
        registered_at=_utc(now),
        registered_by=_line(by, "by"),
    )
    if not _create(ledger, CONSENT, consent_id, consent.to_json(), consent.registered_at):
        raise ConfigurationError(
            f"consent {consent_id!r} is registered already, and is never changed; take another id"
        )
    return consent


def revoke_consent(
    ledger: Ledger, consent_id: str, *, why: str, by: str, now: datetime.datetime
) -> Consent:
    """End a consent now and for good, and return it.

    Raises ConfigurationError where there is none, or it is revoked already.
    """
    consent = find_consent(ledger, consent_id)
    if consent is None:
        known = ", ".join(sorted(ledger.committed(CONSENT))) or "none"
        raise ConfigurationError(f"there is no consent {consent_id!r}; there is: {known}")
    revocation = Revocation(at=_utc(now), by=_line(by, "by"), why=_line(why, "why"))
    values: dict[str, JSON] = {**asdict(revocation)}
    if not _create(ledger, REVOCATION, consent_id, values, revocation.at):
        raise ConfigurationError(f"consent {consent_id!r} is revoked already")
    return replace(consent, revocation=revocation)


def find_consent(ledger: Ledger, consent_id: str) -> Consent | None:
    """Return a consent with its revocation, if there is one. Raises StoreError for a damaged one.

    Raises ConfigurationError for an id that cannot be one.
    """
    record = ledger.find(CONSENT, usable_name(consent_id, "id"))
    if record is None:
        return None
    ended = ledger.find(REVOCATION, consent_id)
    try:
        revocation = Revocation(**ended.info) if ended else None  # type: ignore[arg-type]
        return Consent.from_json(record.info, revocation)
    except (TypeError, ValueError) as error:
        raise StoreError(f"consent {consent_id!r} cannot be read: {error}") from error


def all_consents(ledger: Ledger) -> list[Consent]:
    """Return every consent, sorted by id."""
    found = (find_consent(ledger, one) for one in sorted(ledger.committed(CONSENT)))
    return [consent for consent in found if consent is not None]


def _create(ledger: Ledger, stage: str, key: str, info: dict[str, JSON], at: str) -> bool:
    """Create an entry; False, and nothing changed, where there is another one."""
    if ledger.find(stage, key) is not None:
        return False
    made = ledger.commit(stage, key, outcome="ok", info=info, started_at=at, seconds=0.0)
    return canonical_json(made.info) == canonical_json(info)


def _line(text: str, what: str) -> str:
    line = text.strip()
    if not line or len(line) > _LONGEST_TEXT or not line.isprintable():
        raise ConfigurationError(
            f"{what} is {text!r:.80}; it must be one line of 1 to {_LONGEST_TEXT} characters"
        )
    return line


def _utc(now: datetime.datetime) -> str:
    return now.astimezone(datetime.UTC).isoformat(timespec="milliseconds")
