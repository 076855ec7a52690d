"""Whose consent covers a shot, and which of the persons in a film is meant by it."""

import datetime
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.provenance.consent import Consent, KnownFace, Refusal, RefusalReason, Use
from pipeline.provenance.consent_registry import register_consent, revoke_consent
from pipeline.rendering.admission import consents_of, find_person, refusal_by_terms
from pipeline.rendering.job import FilmShot, Job, PortraitShot
from pipeline.rendering.job_file import parse_job
from storage.ledger import Ledger

SAME_PERSON = 0.5
NETWORK = {"embedder": "arcface", "weights_sha256": "b7120c09"}
OTHER_NETWORK = {"embedder": "dlib", "weights_sha256": "7b3c0911"}
NOW = datetime.datetime(2027, 1, 1, 12, tzinfo=datetime.UTC)
LAST_DAY = datetime.date(2027, 6, 30)


def face_at(likeness: float, network: dict[str, str] = NETWORK) -> KnownFace:
    """A face whose cosine with that of CONSENT is `likeness`."""
    return KnownFace((likeness, math.sqrt(1 - likeness**2), 0.0), network)


def consent_of(uses: tuple[Use, ...] = (Use.DUBBING,), until: datetime.date = LAST_DAY) -> Consent:
    return Consent(
        id="anna",
        name="Anna Actor",
        uses=uses,
        until=until,
        face=face_at(1.0),
        registered_at="2026-11-21T16:00:00.000+00:00",
        registered_by="office",
    )


CONSENT = consent_of()


def refusal(found: int | Refusal) -> Refusal:
    assert isinstance(found, Refusal)
    return found


@pytest.mark.parametrize(
    ("likeness", "person"),
    [
        ({0: 0.9}, 0),
        ({0: 0.6, 1: 0.9, 2: 0.7}, 1),
        ({0: 0.1, 3: 0.5}, 3),
        ({2: 0.8, 0: 0.4, 1: 0.3}, 2),
    ],
)
def test_it_is_the_person_most_like_the_one_who_agreed(
    likeness: dict[int, float], person: int
) -> None:
    faces = {number: face_at(value) for number, value in likeness.items()}
    assert find_person(CONSENT, faces, SAME_PERSON) == person


@pytest.mark.parametrize("order", [(1, 4), (4, 1)])
def test_of_two_who_are_as_like_it_is_the_one_seen_first(order: tuple[int, ...]) -> None:
    faces = {person: face_at(0.8) for person in order}
    assert find_person(CONSENT, faces, SAME_PERSON) == 1


@given(st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=6))
def test_nobody_is_found_who_is_less_like_than_one_person_is(likeness: list[float]) -> None:
    faces = {person: face_at(value) for person, value in enumerate(likeness)}
    found = find_person(CONSENT, faces, SAME_PERSON)
    if max(likeness) >= SAME_PERSON:
        assert found == int(np.argmax(likeness))
    else:
        assert refusal(found).reason is RefusalReason.OTHER_PERSON


def test_a_stranger_is_refused_with_the_likeness() -> None:
    found = refusal(find_person(CONSENT, {0: face_at(0.31)}, SAME_PERSON))
    assert found.reason is RefusalReason.OTHER_PERSON
    for part in ("anna", "0.310", "0.500"):
        assert part in found.sentence


def test_several_strangers_are_refused_with_the_nearest_likeness_and_their_count() -> None:
    faces = {0: face_at(0.12), 1: face_at(0.43), 2: face_at(-0.2)}
    found = refusal(find_person(CONSENT, faces, SAME_PERSON))
    assert found.reason is RefusalReason.OTHER_PERSON
    for part in ("none of the 3 persons", "anna", "0.430", "0.500"):
        assert part in found.sentence


@pytest.mark.parametrize("persons", [1, 2])
def test_faces_of_another_network_cannot_be_compared(persons: int) -> None:
    faces = {person: face_at(0.99, OTHER_NETWORK) for person in range(persons)}
    found = refusal(find_person(CONSENT, faces, SAME_PERSON))
    assert found.reason is RefusalReason.OTHER_NETWORK
    for part in ("arcface", "dlib", "anna"):
        assert part in found.sentence


def test_a_face_of_the_same_network_is_found_beside_one_of_another() -> None:
    faces = {0: face_at(0.99, OTHER_NETWORK), 1: face_at(0.7)}
    assert find_person(CONSENT, faces, SAME_PERSON) == 1


def test_where_no_face_was_measured_nobody_is_found() -> None:
    found = refusal(find_person(CONSENT, {}, SAME_PERSON))
    assert found.reason is RefusalReason.UNKNOWN_FACE
    assert "anna" in found.sentence


def film_shot(consent: str | None = "anna") -> FilmShot:
    return FilmShot.model_validate(
        {
            "mode": "film",
            "id": "dub",
            "film": "a.mp4",
            "consent": consent,
            "performance": {"video": "b.mp4"},
        }
    )


def portrait_shot(consent: str | None = "anna") -> PortraitShot:
    return PortraitShot.model_validate(
        {
            "mode": "portrait",
            "id": "moving",
            "portrait": "a.png",
            "consent": consent,
            "performance": {"video": "b.mp4"},
        }
    )


@pytest.mark.parametrize(
    ("shot", "consent", "reason"),
    [
        (film_shot(), CONSENT, None),
        (portrait_shot(), CONSENT, RefusalReason.USE_NOT_ALLOWED),
        (portrait_shot(), consent_of(uses=(Use.PORTRAIT,)), None),
        (film_shot(), consent_of(uses=(Use.PORTRAIT,)), RefusalReason.USE_NOT_ALLOWED),
        (film_shot(), consent_of(until=NOW.date()), None),
        (
            film_shot(),
            consent_of(until=NOW.date() - datetime.timedelta(days=1)),
            RefusalReason.EXPIRED_CONSENT,
        ),
        (film_shot(None), CONSENT, RefusalReason.NO_CONSENT),
        (film_shot("bert"), CONSENT, RefusalReason.NO_CONSENT),
    ],
)
def test_terms_are_asked_for_the_use_that_the_shot_makes(
    shot: FilmShot | PortraitShot, consent: Consent, reason: RefusalReason | None
) -> None:
    found = refusal_by_terms(shot, {consent.id: consent}, NOW)
    assert (found and found.reason) == reason


def job_of(*consents: str | None) -> Job:
    shots = [
        film_shot(consent).model_copy(update={"id": f"dub{number}"}).model_dump(mode="json")
        for number, consent in enumerate(consents)
    ]
    return parse_job({"job": "j", "run": "r", "shots": shots})


def register(ledger: Ledger, name: str) -> None:
    register_consent(
        ledger,
        consent_id=name,
        name=name.title(),
        uses=(Use.DUBBING,),
        until=LAST_DAY,
        face=face_at(1.0),
        by="office",
        now=NOW,
    )


def test_the_consents_of_a_job_are_those_that_it_names_and_that_there_are(ledger: Ledger) -> None:
    for name in ("anna", "carla"):
        register(ledger, name)
    found = consents_of(ledger, job_of("anna", "bert", None, "anna"))
    assert set(found) == {"anna"}
    assert found["anna"].name == "Anna"


def test_a_consent_is_looked_up_with_its_revocation(ledger: Ledger) -> None:
    register(ledger, "anna")
    before = consents_of(ledger, job_of("anna"))
    assert refusal_by_terms(film_shot(), before, NOW) is None
    revoke_consent(ledger, "anna", why="asked for it", by="office", now=NOW)
    found = refusal_by_terms(film_shot(), consents_of(ledger, job_of("anna")), NOW)
    assert found is not None
    assert found.reason is RefusalReason.REVOKED_CONSENT
