"""What a delivered film says about itself, in our words and in C2PA's."""

import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from pydantic import TypeAdapter

from storage.identity import JSON, plain

GENERATOR = "Export3D Pipeline"
ASSERTION = "org.export3d.render"
"""Label of our own assertion in a manifest."""

_IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SOURCE_TYPES = {
    "film": f"{_IPTC}compositeWithTrainedAlgorithmicMedia",
    "portrait": f"{_IPTC}trainedAlgorithmicMedia",
}
"""By mode: a film with generated faces in it, and a clip that is generated as a whole (the IPTC's
vocabulary of digital source types, which C2PA prescribes)."""


@dataclass(frozen=True)
class Claim:
    """Whence a delivered film comes: names and keys that lead back through the ledger.

    still_sha256: digest of the actor's film, or of the portrait. consent: id of the record, None
    where none is asked for. mark_key: name of the invisible mark's key, None without that mark.
    """

    mode: Literal["film", "portrait"]
    job: str
    shot: str
    still_sha256: str
    performance_sha256: str
    run: str
    weights_key: str
    dataset_key: str
    recipe_digest: str
    consent: str | None
    visible_mark: bool
    mark_key: str | None

    def to_json(self) -> dict[str, JSON]:
        """Plain values, from which `from_json` makes an equal claim."""
        return plain(self)

    @staticmethod
    def from_json(values: object) -> "Claim":
        """Inverse of to_json; what a later version has added is left out.

        Raises ValueError for anything else: it may come from anybody's file.
        """
        return _CLAIM.validate_json(json.dumps(values), strict=True)


_CLAIM = TypeAdapter(Claim)


def definition(claim: Claim) -> dict[str, JSON]:
    """Return the C2PA manifest that states a claim.

    A film is opened and edited: it is the parent. A portrait's clip is created. Sources are named
    by digest alone: their bytes are not at hand where films are delivered.
    """
    agent = {"name": GENERATOR, "version": version("export3d-pipeline")}
    generated: dict[str, JSON] = {
        "digitalSourceType": SOURCE_TYPES[claim.mode],
        "softwareAgent": agent,
    }
    performance = _ingredient("performance", claim.performance_sha256, "inputTo")
    if claim.mode == "film":
        sources = [_ingredient("film", claim.still_sha256, "parentOf"), performance]
        actions: list[JSON] = [
            {"action": "c2pa.opened", "parameters": {"ingredientIds": ["film"]}},
            {
                "action": "c2pa.edited",
                "description": "The face was replaced by one that a trained network generated.",
                "parameters": {"ingredientIds": ["performance"]},
                **generated,
            },
        ]
    else:
        sources = [_ingredient("portrait", claim.still_sha256, "inputTo"), performance]
        actions = [
            {
                "action": "c2pa.created",
                "description": "A trained network generated every picture from a portrait.",
                "parameters": {"ingredientIds": ["portrait", "performance"]},
                **generated,
            }
        ]
    return {
        "claim_generator_info": [agent],
        "title": f"{claim.shot}.mp4",
        "format": "video/mp4",
        "ingredients": sources,
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": actions}},
            {"label": ASSERTION, "data": claim.to_json()},
        ],
    }


def _ingredient(name: str, sha256: str, relationship: str) -> JSON:
    return {
        "title": name,
        "label": name,
        "instance_id": f"urn:sha256:{sha256}",
        "relationship": relationship,
    }
