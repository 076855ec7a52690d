"""The face of a person in a pre-processed film, to be compared with a consent.

Shapes: D numbers of an embedding.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.provenance.consent import KnownFace
from pipeline.stages.landmarks import TRACKS
from storage.ledger import Commit, Ledger
from storage.schemas import tracks_schema
from storage.tables import read_table


def shot_face(
    ledger: Ledger, landmarks: Commit, person: int, network: Mapping[str, str], folder: Path
) -> KnownFace | None:
    """Return the mean direction of a person's tracks, by the frames of each.

    landmarks: commit of the stage `landmarks`; person: a number of its tracks. network: `identity`
    of the recipe's embedder. None where no track of the person has an embedding: the recipe knows
    no persons, or the film does not show this one. folder: for a copy of a table.
    """
    tracks = ledger.fetch(landmarks.output(TRACKS), folder)
    rows = [
        row
        for row in read_table(tracks, tracks_schema()).to_pylist()
        if row["person"] == person and row["embedding"] is not None
    ]
    sum_D = np.sum([row["frames"] * np.array(row["embedding"]) for row in rows], axis=0)
    length = float(np.linalg.norm(sum_D))
    if length == 0:
        return None
    return KnownFace(tuple((sum_D / length).tolist()), dict(network))
