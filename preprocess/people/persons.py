"""Who is who: tracks of one person get one number.

Shapes: N tracks, or whatever else is joined; D numbers of an embedding.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from preprocess.people.follow import Track

Array = npt.NDArray[np.float64]

_FAR = 1e9
"""Distance of two that cannot be one person: no mean with it comes below any limit."""


def persons_of(tracks: Sequence[Track], min_likeness: float) -> list[int]:
    """Return a person's number for each track, counted from 0 in the order of appearance.

    Tracks are joined by the cosines between their embeddings; two faces that are seen at one time
    are two persons. Without embeddings all tracks that can be one person are.
    """
    groups = joined(_likeness(tracks), min_likeness)
    person_of = {track: person for person, group in enumerate(groups) for track in group}
    return [person_of[track] for track in range(len(tracks))]


def joined(likeness_NN: Array, min_likeness: float) -> list[list[int]]:
    """Group what is one person: the most alike first, while the mean likeness is large enough.

    What is not finite says that two cannot be one. Groups come in the order of their first.
    """
    if len(likeness_NN) < 2:
        return [[index] for index in range(len(likeness_NN))]
    apart_NN = np.where(np.isfinite(likeness_NN), 1 - likeness_NN, _FAR)
    np.fill_diagonal(apart_NN, 0)
    tree = linkage(squareform((apart_NN + apart_NN.T) / 2, checks=False), "average")
    groups: dict[int, list[int]] = {}
    for index, label in enumerate(fcluster(tree, 1 - min_likeness, "distance").tolist()):
        groups.setdefault(label, []).append(index)
    return list(groups.values())


def _likeness(tracks: Sequence[Track]) -> Array:
    """Cosine [N,N] between tracks, 1 if unknown; -inf where they cannot be one person."""
    likeness_NN = np.ones((len(tracks), len(tracks)))
    embeddings = [track.embedding_D for track in tracks if track.embedding_D is not None]
    if tracks and len(embeddings) == len(tracks):
        embeddings_ND = np.array(embeddings).reshape(len(tracks), -1)
        likeness_NN = embeddings_ND @ embeddings_ND.T
    first_N = np.array([track.first_tick for track in tracks])
    last_N = np.array([track.last_tick for track in tracks])
    together_NN = (first_N[:, None] <= last_N) & (first_N <= last_N[:, None])
    likeness_NN[together_NN] = -np.inf
    return likeness_NN
