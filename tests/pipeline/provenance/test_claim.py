"""What a claim becomes in C2PA's words."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.provenance.claim import ASSERTION, Claim, definition


def actions(claim: Claim) -> list[Any]:
    assertions: Any = definition(claim)["assertions"]
    return next(one for one in assertions if one["label"] == "c2pa.actions")["data"]["actions"]


def test_a_film_is_opened_and_edited_with_generated_parts(claim: Claim) -> None:
    opened, edited = actions(claim)
    assert (opened["action"], edited["action"]) == ("c2pa.opened", "c2pa.edited")
    assert edited["digitalSourceType"] == (
        "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
    )
    assert "digitalSourceType" not in opened


def test_a_portrait_is_created_by_a_trained_network(claim: Claim) -> None:
    (created,) = actions(replace(claim, mode="portrait"))
    assert created["action"] == "c2pa.created"
    assert created["digitalSourceType"] == (
        "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    )


def test_our_own_assertion_and_the_sources_lead_back(claim: Claim) -> None:
    told: Any = definition(claim)
    (ours,) = [one["data"] for one in told["assertions"] if one["label"] == ASSERTION]
    assert ours == claim.to_json()
    assert {one["title"]: one["instance_id"] for one in told["ingredients"]} == {
        "film": f"urn:sha256:{claim.still_sha256}",
        "performance": f"urn:sha256:{claim.performance_sha256}",
    }


@given(
    mode=st.sampled_from(["film", "portrait"]),
    names=st.lists(st.text(), min_size=8, max_size=8),
    consent=st.none() | st.text(),
    visible_mark=st.booleans(),
    mark_key=st.none() | st.text(),
)
def test_a_claim_survives_json(
    mode: Any, names: list[str], consent: str | None, visible_mark: bool, mark_key: str | None
) -> None:
    claim = Claim(mode, *names, consent, visible_mark, mark_key)
    assert Claim.from_json({**claim.to_json(), "added later": 1}) == claim


@pytest.mark.parametrize(
    "foreign",
    [None, [], {}, "text", {"mode": "film"}, {"mode": "opera"}, {"visible_mark": "yes"},
     {"consent": 7}],
)  # fmt: skip
def test_what_is_no_claim_of_ours_is_refused(claim: Claim, foreign: Any) -> None:
    if isinstance(foreign, dict) and foreign not in ({}, {"mode": "film"}):
        foreign = {**claim.to_json(), **foreign}
    with pytest.raises(ValueError, match="validation error"):
        Claim.from_json(foreign)
