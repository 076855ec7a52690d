"""The registry: what is entered stands, whatever comes after."""

import datetime
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from pipeline.provenance.consent import Consent, KnownFace, Use
from pipeline.provenance.consent_registry import (
    all_consents,
    find_consent,
    register_consent,
    revoke_consent,
)
from storage.ledger import Ledger
from storage.store import StoreError, open_store

NOW = datetime.datetime(2026, 11, 21, 16, 0, tzinfo=datetime.UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(open_store(str(tmp_path / "store")))


def entries(ledger: Ledger) -> dict[str, bytes]:
    return {key: ledger.store.get(key) for key in ledger.store.list("")}


def register(ledger: Ledger, face: KnownFace, consent_id: str = "anna", **changes) -> Consent:
    given = {
        "name": "Anna Actor",
        "uses": (Use.DUBBING,),
        "until": datetime.date(2027, 12, 31),
        "by": "office",
        "now": NOW,
    }
    return register_consent(ledger, consent_id=consent_id, face=face, **given | changes)


def test_a_consent_is_found_as_it_was_registered(ledger: Ledger, face: KnownFace) -> None:
    consent = register(ledger, face, uses=(Use.PORTRAIT, Use.DUBBING, Use.DUBBING))
    assert find_consent(ledger, "anna") == consent
    assert consent.uses == (Use.DUBBING, Use.PORTRAIT)
    assert (consent.registered_at, consent.registered_by) == (
        "2026-11-21T16:00:00.000+00:00",
        "office",
    )
    assert find_consent(ledger, "ben") is None


def test_an_id_is_taken_once(ledger: Ledger, face: KnownFace) -> None:
    consent = register(ledger, face)
    before = entries(ledger)
    with pytest.raises(ConfigurationError, match="'anna' is registered already"):
        register(ledger, face, until=datetime.date(2030, 1, 1))
    assert entries(ledger) == before
    assert find_consent(ledger, "anna") == consent


def test_of_many_writers_at_once_one_enters_and_all_read_the_same(
    ledger: Ledger, face: KnownFace
) -> None:
    def enter(number: int) -> str | None:
        try:
            return register(ledger, face, name=f"writer {number}").name
        except ConfigurationError:
            return None

    with ThreadPoolExecutor(8) as writers:
        names = [name for name in writers.map(enter, range(8)) if name]
    found = find_consent(ledger, "anna")
    assert found is not None
    assert names == [found.name]


def test_a_revocation_is_a_further_entry_and_final(ledger: Ledger, face: KnownFace) -> None:
    consent = register(ledger, face)
    before = entries(ledger)
    later = NOW + datetime.timedelta(days=1)
    revoked = revoke_consent(ledger, "anna", why=" asked for it ", by="legal", now=later)
    after = entries(ledger)
    assert {key: after[key] for key in before} == before
    assert len(after) == len(before) + 1
    found = find_consent(ledger, "anna")
    assert found == revoked != consent
    assert found is not None
    assert found.revocation is not None
    assert (found.revocation.at[:10], found.revocation.why) == ("2026-11-22", "asked for it")
    with pytest.raises(ConfigurationError, match="revoked already"):
        revoke_consent(ledger, "anna", why="again", by="legal", now=later)
    with pytest.raises(ConfigurationError, match="registered already"):
        register(ledger, face)
    assert entries(ledger) == after


def test_revoking_nothing_tells_what_there_is(ledger: Ledger, face: KnownFace) -> None:
    with pytest.raises(ConfigurationError, match="there is: none"):
        revoke_consent(ledger, "anna", why="x", by="legal", now=NOW)
    register(ledger, face, "ben"), register(ledger, face, "cleo")
    with pytest.raises(ConfigurationError, match="there is: ben, cleo"):
        revoke_consent(ledger, "anna", why="x", by="legal", now=NOW)


def test_all_are_listed_with_their_ends(ledger: Ledger, face: KnownFace) -> None:
    for one in ("cleo", "anna", "ben"):
        register(ledger, face, one)
    revoke_consent(ledger, "ben", why="x", by="legal", now=NOW)
    told = [(one.id, one.revocation is not None) for one in all_consents(ledger)]
    assert told == [("anna", False), ("ben", True), ("cleo", False)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"consent_id": "Anna Actor"}, "id 'Anna Actor' must be"),
        ({"consent_id": "../x"}, "id '../x' must be"),
        ({"uses": ()}, "use is empty; allowed is dubbing, portrait"),
        ({"until": datetime.date(2026, 11, 20)}, "until is 2026-11-20; that day is over"),
        ({"name": "  "}, "name is '  '; it must be one line"),
        ({"name": "Anna\nActor"}, "it must be one line"),
        ({"name": "a" * 201}, "it must be one line"),
        ({"by": "\x1b[2J"}, "by is .*it must be one line"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_not_entered(
    ledger: Ledger, face: KnownFace, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        register(ledger, face, **changes)
    assert entries(ledger) == {}


def test_a_consent_may_begin_on_its_last_day(ledger: Ledger, face: KnownFace) -> None:
    assert register(ledger, face, until=NOW.date()).state(NOW) == "in force"


def test_a_damaged_record_is_the_stores_fault(ledger: Ledger, face: KnownFace) -> None:
    register(ledger, face)
    (key,) = entries(ledger)
    ledger.store.put(key, ledger.store.get(key).replace(b'"dubbing"', b'"acting"'))
    with pytest.raises(StoreError, match="consent 'anna' cannot be read"):
        find_consent(ledger, "anna")
