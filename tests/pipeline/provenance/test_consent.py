"""When a consent covers a shot, and what is said where it does not."""

import datetime
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.provenance.consent import (
    Consent,
    KnownFace,
    Refusal,
    RefusalReason,
    Revocation,
    Use,
    check_face,
    check_terms,
)

SAME_PERSON = 0.48
LAST_DAY = datetime.date(2027, 6, 30)
NETWORK = {"embedder": "arcface", "version": "1", "weights_sha256": "b7120c09"}
NOW = datetime.datetime(2027, 1, 1, 12, tzinfo=datetime.UTC)
REVOKED = Revocation("2026-12-24T10:00:00.000+00:00", "legal", "asked for it")


def face_at(likeness: float, network: dict[str, str] = NETWORK) -> KnownFace:
    """A face whose cosine with that of CONSENT is `likeness`."""
    return KnownFace((likeness, math.sqrt(1 - likeness**2), 0.0), network)


CONSENT = Consent(
    id="anna-2026",
    name="Anna Actor",
    uses=(Use.DUBBING,),
    until=LAST_DAY,
    face=face_at(1.0),
    registered_at="2026-11-21T16:00:00.000+00:00",
    registered_by="office",
)


def reason(refusal: Refusal | None) -> RefusalReason | None:
    return refusal and refusal.reason


def refused(
    consent: Consent, use: Use, now: datetime.datetime, face: KnownFace | None
) -> Refusal | None:
    """What a job asks, in its order."""
    return check_terms(consent, use, now) or check_face(consent, face, SAME_PERSON)


def check(
    consent: Consent = CONSENT,
    use: Use = Use.DUBBING,
    now: datetime.datetime = NOW,
    face: KnownFace | None = None,
) -> RefusalReason | None:
    return reason(refused(consent, use, now, face or face_at(0.9)))


@given(
    revoked=st.booleans(),
    days_left=st.integers(-3, 3),
    uses=st.sets(st.sampled_from(Use), min_size=1),
    use=st.sampled_from(Use),
    likeness=st.floats(-1, 1),
    same_network=st.booleans(),
)
def test_a_shot_is_covered_when_everything_fits_and_only_then(
    revoked: bool, days_left: int, uses: set[Use], use: Use, likeness: float, same_network: bool
) -> None:
    consent = replace(CONSENT, uses=tuple(uses), revocation=REVOKED if revoked else None)
    now = datetime.datetime.combine(
        LAST_DAY - datetime.timedelta(days=days_left), datetime.time(12), datetime.UTC
    )
    face = face_at(likeness, NETWORK if same_network else {**NETWORK, "version": "2"})
    against = [
        (revoked, RefusalReason.REVOKED_CONSENT),
        (days_left < 0, RefusalReason.EXPIRED_CONSENT),
        (use not in uses, RefusalReason.USE_NOT_ALLOWED),
        (not same_network, RefusalReason.OTHER_NETWORK),
        (likeness < SAME_PERSON, RefusalReason.OTHER_PERSON),
    ]
    expected = next((why for is_so, why in against if is_so), None)
    assert check(consent, use, now, face) == expected


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2027-06-30T23:59:59+00:00", None),
        ("2027-07-01T00:00:00+00:00", RefusalReason.EXPIRED_CONSENT),
        ("2027-07-01T01:30:00+02:00", None),
        ("2027-06-30T20:00:00-05:00", RefusalReason.EXPIRED_CONSENT),
    ],
)
def test_the_last_day_counts_and_is_one_of_utc(now: str, expected: RefusalReason | None) -> None:
    assert check(now=datetime.datetime.fromisoformat(now)) == expected


def test_a_time_without_a_zone_is_no_time() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        check(now=datetime.datetime(2027, 1, 1))  # noqa: DTZ001


def test_terms_are_checked_before_any_face_is_known() -> None:
    assert check_terms(CONSENT, Use.DUBBING, NOW) is None
    assert reason(check_terms(CONSENT, Use.PORTRAIT, NOW)) is RefusalReason.USE_NOT_ALLOWED


def test_each_refusal_is_one_sentence_that_names_the_record_and_what_is_wrong() -> None:
    ended = replace(CONSENT, revocation=REVOKED)
    far = face_at(0.2)
    told = [
        refused(ended, Use.DUBBING, NOW, far),
        refused(CONSENT, Use.PORTRAIT, NOW, far),
        refused(CONSENT, Use.DUBBING, NOW, far),
    ]
    assert [one and one.sentence for one in told] == [
        "consent anna-2026 was revoked on 2026-12-24 by legal: asked for it",
        "consent anna-2026 does not allow portrait; it allows: dubbing",
        "the face in the shot is not that of consent anna-2026: their likeness is 0.200, and "
        "one person's is 0.480 or more",
    ]


def test_a_face_that_nobody_has_measured_is_no_ones() -> None:
    refusal = refused(CONSENT, Use.DUBBING, NOW, None)
    assert reason(refusal) is RefusalReason.UNKNOWN_FACE
    refusal = refused(CONSENT, Use.PORTRAIT, NOW, None)
    assert reason(refusal) is RefusalReason.USE_NOT_ALLOWED


def test_faces_of_another_width_are_of_another_network() -> None:
    assert check(face=KnownFace((1.0, 0.0), NETWORK)) is RefusalReason.OTHER_NETWORK


@pytest.mark.parametrize("vector", [(), (0.0, 0.0), (3.0, 4.0), (math.nan, 0.0), (math.inf, 0.0)])
def test_what_is_no_direction_is_no_face(vector: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="length 1"):
        KnownFace(vector, NETWORK)


@given(
    vector=st.lists(st.floats(-1, 1), min_size=2, max_size=8).filter(
        lambda values: np.linalg.norm(values) > 0.1
    ),
    uses=st.sets(st.sampled_from(Use), min_size=1),
    until=st.dates(),
    name=st.text(min_size=1).filter(str.isprintable),
)
def test_a_record_survives_json(
    vector: list[float], uses: set[Use], until: datetime.date, name: str
) -> None:
    unit = tuple((np.array(vector) / np.linalg.norm(vector)).tolist())
    consent = replace(
        CONSENT, name=name, uses=tuple(uses), until=until, face=KnownFace(unit, NETWORK)
    )
    assert Consent.from_json(consent.to_json()) == consent


@pytest.mark.parametrize(
    "damage",
    [{"uses": ["acting"]}, {"until": "soon"}, {"face": {}}, {"further": 1}, {"uses": None}],
)
def test_what_is_no_record_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Consent.from_json({**CONSENT.to_json(), **damage})


def test_the_state_of_a_record() -> None:
    late = NOW.replace(year=2028)
    assert [CONSENT.state(NOW), CONSENT.state(late)] == ["in force", "expired"]
    assert replace(CONSENT, revocation=REVOKED).state(late) == "revoked"
