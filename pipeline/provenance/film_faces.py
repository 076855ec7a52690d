"""The faces of the persons in a pre-processed film, to be compared with a consent.

Shapes: D numbers of an embedding.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.provenance.consent import KnownFace
from pipeline.stages.landmarks import TRACKS
from storage.ledger import Commit, Ledger
from storage.schemas import tracks_schema
from storage.tables import read_table


def faces_of_film(
    ledger: Ledger, landmarks: Commit, network: Mapping[str, str] | None, folder: Path
) -> dict[int, KnownFace]:
    """Return each person's face: the mean direction of the tracks, by the frames of each.

    landmarks: commit of the stage `landmarks`; its tracks number the persons. network: `identity`
    of the recipe's embedder. Empty where nothing was measured: the recipe knows no persons. folder:
    for a copy of a table.
    """
    if network is None:
        return {}
    tracks = ledger.fetch(landmarks.output(TRACKS), folder)
    sums: dict[int, NDArray[np.float64]] = {}
    for row in read_table(tracks, tracks_schema()).to_pylist():
        if row["embedding"] is not None:
            seen_D = row["frames"] * np.array(row["embedding"], np.float64)
            sums[row["person"]] = sums.get(row["person"], 0) + seen_D
    tracks.unlink()
    lengths = {person: float(np.linalg.norm(sum_D)) for person, sum_D in sums.items()}
    return {
        person: KnownFace(tuple((sum_D / lengths[person]).tolist()), dict(network))
        for person, sum_D in sorted(sums.items())
        if lengths[person] > 0
    }
