"""Consents for the people in the test films."""

import datetime
from pathlib import Path

from pipeline.provenance.consent import Use
from pipeline.provenance.consent_registry import register_consent
from pipeline.provenance.reference_face import reference_face
from pipeline.recipes import preprocess_recipe
from storage.ledger import Ledger
from storage.store import open_store

RENDER_RECIPE = "dubbing_demo"
LAST_DAY = datetime.date(2099, 12, 31)


def agree(
    store: Path,
    consent_id: str,
    picture: Path,
    *,
    uses: tuple[Use, ...] = (Use.DUBBING, Use.PORTRAIT),
    until: datetime.date = LAST_DAY,
) -> str:
    """Register, long ago, that the person in a picture or film agrees; return the consent's id."""
    networks = preprocess_recipe(RENDER_RECIPE).landmarks.networks
    register_consent(
        Ledger(open_store(str(store))),
        consent_id=consent_id,
        name=consent_id.title(),
        uses=uses,
        until=until,
        face=reference_face(picture, networks),
        by="tests",
        now=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    )
    return consent_id
