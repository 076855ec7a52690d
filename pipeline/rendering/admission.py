"""Who may be shown: consents looked up, their terms checked, and their faces found in pictures.

Terms are asked before anything is computed and again before a film leaves the house; a face can be
compared only when the film has been looked at.
"""

import datetime
from collections.abc import Mapping

from pipeline.provenance.consent import (
    Consent,
    KnownFace,
    Refusal,
    RefusalReason,
    Use,
    check_face,
    check_terms,
)
from pipeline.provenance.consent_registry import find_consent
from pipeline.rendering.job import FilmShot, Job, PortraitShot
from storage.ledger import Ledger

_USES = {"film": Use.DUBBING, "portrait": Use.PORTRAIT}


def consents_of(ledger: Ledger, job: Job) -> dict[str, Consent]:
    """Return the consents that the shots name, by id, as they stand now; unknown ones lack."""
    named = {shot.consent for shot in job.shots if shot.consent is not None}
    found = {name: find_consent(ledger, name) for name in sorted(named)}
    return {name: consent for name, consent in found.items() if consent is not None}


def refusal_by_terms(
    shot: FilmShot | PortraitShot, consents: Mapping[str, Consent], now: datetime.datetime
) -> Refusal | None:
    """Return why a shot must not be rendered whoever it shows; None where its consent holds."""
    if shot.consent is None:
        return Refusal(RefusalReason.NO_CONSENT, "the shot names no consent")
    if shot.consent not in consents:
        return Refusal(RefusalReason.NO_CONSENT, f"no consent {shot.consent!r} is registered")
    return check_terms(consents[shot.consent], _USES[shot.mode], now)


def find_person(
    consent: Consent, faces: Mapping[int, KnownFace], same_person: float
) -> int | Refusal:
    """Return which of the persons in a film agreed, or why none of them can be taken for that one.

    faces: by the person's number in the film; same_person: the least cosine between two embeddings
    of one person. Of several who are like enough it is the one most alike.
    """
    refusals = {
        person: check_face(consent, face, same_person) for person, face in sorted(faces.items())
    }
    fitting = [person for person, refusal in refusals.items() if refusal is None]
    if fitting:
        return max(fitting, key=lambda person: consent.face.likeness(faces[person]))
    comparable = {
        person: refusal
        for person, refusal in refusals.items()
        if refusal and refusal.reason is RefusalReason.OTHER_PERSON
    }
    if len(comparable) > 1:
        nearest = max(consent.face.likeness(faces[person]) for person in comparable)
        return Refusal(
            RefusalReason.OTHER_PERSON,
            f"none of the {len(comparable)} persons in the shot is that of consent {consent.id}: "
            f"the likeness is at most {nearest:.3f}, and one person's {same_person:.3f} or more",
        )
    refusal = next(iter(refusals.values()), None) or check_face(consent, None, same_person)
    assert refusal is not None  # noqa: S101  no face always is a reason
    return refusal
