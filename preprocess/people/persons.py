"""Who is who in a film: tracks of one person get one number.

Shapes: N tracks, D numbers of an embedding.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from preprocess.people.follow import Track


def persons_of(tracks: Sequence[Track], min_likeness: float) -> list[int]:
    """Return a person's number for each track, counted from 0 in the order of appearance.

    Groups of tracks are joined, the most alike first, while the mean cosine between their
    embeddings is at least `min_likeness`; two faces that are seen at one time are two persons.
    Without embeddings all tracks that can be one person are.
    """
    groups = [[number] for number in range(len(tracks))]
    likeness_NN = _likeness(tracks)
    while len(tracks) > 1:
        best = np.unravel_index(int(np.argmax(likeness_NN)), likeness_NN.shape)
        if not likeness_NN[best] >= min_likeness:
            break
        _join(groups, likeness_NN, *sorted(int(side) for side in best))
    order = sorted((group for group in groups if group), key=min)
    person_of = {track: person for person, group in enumerate(order) for track in group}
    return [person_of[track] for track in range(len(tracks))]


def _likeness(tracks: Sequence[Track]) -> npt.NDArray[np.float64]:
    """Mean cosine [N,N] between tracks, 1 if unknown; -inf where they cannot be one person."""
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


def _join(groups: list[list[int]], likeness_NN: npt.NDArray[np.float64], a: int, b: int) -> None:
    """Join group b into a: their likeness to others is the mean, and impossible stays so."""
    sizes = len(groups[a]), len(groups[b])
    mean_N = (sizes[0] * likeness_NN[a] + sizes[1] * likeness_NN[b]) / sum(sizes)
    likeness_NN[a], likeness_NN[:, a] = mean_N, mean_N
    likeness_NN[b], likeness_NN[:, b] = -np.inf, -np.inf
    groups[a] += groups[b]
    groups[b] = []
