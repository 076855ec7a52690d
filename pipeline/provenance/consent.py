"""Consent: what a person has allowed, until when, and whether that covers a shot.

A record knows a face as a direction in the space of an identity network; it holds no picture.
"""

import datetime
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np

from storage.identity import JSON

_UNIT_TOLERANCE = 1e-3


class Use(StrEnum):
    """What may be made with a face."""

    DUBBING = "dubbing"
    PORTRAIT = "portrait"


class RefusalReason(StrEnum):
    """Why a shot must not be rendered."""

    NO_CONSENT = "no_consent"
    REVOKED_CONSENT = "revoked_consent"
    EXPIRED_CONSENT = "expired_consent"
    USE_NOT_ALLOWED = "use_not_allowed"
    UNKNOWN_FACE = "unknown_face"
    OTHER_NETWORK = "other_network"
    OTHER_PERSON = "other_person"


@dataclass(frozen=True)
class Refusal:
    """Why a shot must not be rendered, for programs and for people."""

    reason: RefusalReason
    sentence: str


@dataclass(frozen=True)
class KnownFace:
    """A face as an identity network sees it.

    embedding: a vector of length 1. network: `identity()` of the embedder that made it; embeddings
    of different networks cannot be compared. Raises ValueError for any other vector.
    """

    embedding: tuple[float, ...]
    network: Mapping[str, str]

    def __post_init__(self) -> None:
        length = float(np.linalg.norm(self.embedding)) if self.embedding else 0.0
        if not abs(length - 1) < _UNIT_TOLERANCE:
            raise ValueError(f"an embedding of a face has length 1, and this one has {length:.4g}")

    def likeness(self, other: "KnownFace") -> float:
        """Cosine between two faces of one network."""
        return float(np.dot(self.embedding, other.embedding))


@dataclass(frozen=True)
class Revocation:
    """The end of a consent before its time. `at` is UTC in ISO 8601."""

    at: str
    by: str
    why: str


@dataclass(frozen=True)
class Consent:
    """What a person agreed to.

    until: the last day, in UTC, on which it holds. registered_at: UTC in ISO 8601. A revocation is
    final: who agrees again does so in a new record.
    """

    id: str
    name: str
    uses: tuple[Use, ...]
    until: datetime.date
    face: KnownFace
    registered_at: str
    registered_by: str
    revocation: Revocation | None = None

    def state(self, now: datetime.datetime) -> str:
        """In force, expired or revoked."""
        if self.revocation:
            return "revoked"
        return "expired" if _day(now) > self.until else "in force"

    def to_json(self) -> dict[str, JSON]:
        """The record as it was registered, as plain values, without what came after."""
        values: dict[str, Any] = asdict(self)
        del values["revocation"]
        face = {"embedding": list(self.face.embedding), "network": dict(self.face.network)}
        uses = [str(use) for use in self.uses]
        return {**values, "uses": uses, "until": self.until.isoformat(), "face": face}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], revocation: Revocation | None = None) -> Self:
        """Inverse of to_json. Raises ValueError for anything else."""
        try:
            fields = dict(values)
            face = fields.pop("face")
            return cls(
                uses=tuple(Use(use) for use in fields.pop("uses")),
                until=datetime.date.fromisoformat(fields.pop("until")),
                face=KnownFace(tuple(face["embedding"]), dict(face["network"])),
                revocation=revocation,
                **fields,
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is no consent record ({error})") from error


def check_terms(consent: Consent, use: Use, now: datetime.datetime) -> Refusal | None:
    """Return what the record itself says against a use; no face is looked at.

    Raises ValueError for a time without a time zone.
    """
    if ended := consent.revocation:
        return Refusal(
            RefusalReason.REVOKED_CONSENT,
            f"consent {consent.id} was revoked on {ended.at[:10]} by {ended.by}: {ended.why}",
        )
    if _day(now) > consent.until:
        return Refusal(
            RefusalReason.EXPIRED_CONSENT,
            f"consent {consent.id} ended with {consent.until.isoformat()} (UTC)",
        )
    if use not in consent.uses:
        allowed = ", ".join(consent.uses)
        return Refusal(
            RefusalReason.USE_NOT_ALLOWED,
            f"consent {consent.id} does not allow {use}; it allows: {allowed}",
        )
    return None


def check_face(consent: Consent, face: KnownFace | None, same_person: float) -> Refusal | None:
    """Return why a face cannot be taken for the person who agreed; None where it can."""
    if face is None:
        return Refusal(
            RefusalReason.UNKNOWN_FACE,
            f"nothing has measured whose face is in the shot, so consent {consent.id} cannot be "
            "compared; use a recipe that tells persons apart",
        )
    known = consent.face
    if dict(known.network) != dict(face.network) or len(known.embedding) != len(face.embedding):
        return Refusal(
            RefusalReason.OTHER_NETWORK,
            f"the face of consent {consent.id} was measured by {_named(known)}, the face in the "
            f"shot by {_named(face)}, so the two cannot be compared",
        )
    likeness = known.likeness(face)
    if not likeness >= same_person:
        return Refusal(
            RefusalReason.OTHER_PERSON,
            f"the face in the shot is not that of consent {consent.id}: their likeness is "
            f"{likeness:.3f}, and one person's is {same_person:.3f} or more",
        )
    return None


def _day(now: datetime.datetime) -> datetime.date:
    if now.tzinfo is None:
        raise ValueError("the time has no time zone, so its day in UTC is not known")
    return now.astimezone(datetime.UTC).date()


def _named(face: KnownFace) -> str:
    network = face.network
    weights = network.get("weights_sha256", "")[:8] or "unknown weights"
    return f"{network.get('embedder', 'an unknown network')} ({weights})"
