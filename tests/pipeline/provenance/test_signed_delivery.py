"""A rendered film is signed once, and delivered as it was signed."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.provenance.certificates import SigningIdentity, signing_identity
from pipeline.provenance.claim import Claim
from pipeline.provenance.manifest import SigningError, Standing, read_manifest
from pipeline.provenance.signed_delivery import SIGN, signed_delivery
from storage.ledger import Commit, Ledger
from storage.store import open_store

NAME = "delivered.mp4"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(open_store(str(tmp_path / "store")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def rendered(ledger: Ledger, film: Path) -> Commit:
    return ledger.commit(
        "render-film", "f" * 64, outcome="ok", files={NAME: film}, started_at="", seconds=0.0
    )


def test_a_signed_film_is_committed_with_its_parents(
    ledger: Ledger, film: Path, claim: Claim, identity: SigningIdentity, folder: Path
) -> None:
    commit = signed_delivery(ledger, rendered(ledger, film), NAME, claim, identity, folder)
    assert commit.parents == ("f" * 64, "anna-2026")
    assert list(folder.iterdir()) == []
    read = read_manifest(ledger.fetch(commit.output(NAME), folder))
    assert (read.standing, read.claim) == (Standing.VALID, claim)
    assert commit.info["manifest"] == read.manifest_id


def test_what_is_signed_already_is_not_signed_again(
    ledger: Ledger, film: Path, claim: Claim, identity: SigningIdentity, folder: Path
) -> None:
    before = rendered(ledger, film)
    first = signed_delivery(ledger, before, NAME, claim, identity, folder)
    objects = ledger.store.list("")
    assert signed_delivery(ledger, before, NAME, claim, identity, folder) == first
    assert ledger.store.list("") == objects


def test_another_claim_or_certificate_is_another_file(
    ledger: Ledger, film: Path, claim: Claim, identity: SigningIdentity, folder: Path
) -> None:
    before, other = rendered(ledger, film), signing_identity(folder.parent / "home", {})
    for one, signer in (
        (claim, identity),
        (replace(claim, consent="anna-2027"), identity),
        (claim, other),
    ):
        signed_delivery(ledger, before, NAME, one, signer, folder)
    assert len(ledger.committed(SIGN)) == 3


def test_what_cannot_be_signed_is_not_committed(
    ledger: Ledger, claim: Claim, identity: SigningIdentity, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.mp4").write_text("This is no film.\n" * 50)
    with pytest.raises(SigningError, match="cannot be signed"):
        signed_delivery(
            ledger, rendered(ledger, tmp_path / "text.mp4"), NAME, claim, identity, folder
        )
    assert ledger.committed(SIGN) == set()
    assert list(folder.iterdir()) == []
