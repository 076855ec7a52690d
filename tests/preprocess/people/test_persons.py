import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.landmarks.backend import FaceObservation
from preprocess.people.follow import Track
from preprocess.people.persons import persons_of

FACE = FaceObservation(np.zeros(4), np.zeros((5, 2)), None, None, 1.0)


def track(number: int, first: int, last: int, embedding: list[float] | None) -> Track:
    made = Track(number, 0, first, last, FACE)
    if embedding is not None:
        made.embedding_sum = np.array(embedding, np.float64)
    return made


def people(*tracks: tuple[int, int, list[float] | None], limit: float = 0.5) -> list[int]:
    return persons_of([track(n, *one) for n, one in enumerate(tracks)], limit)


def test_one_face_that_leaves_and_comes_back_is_one_person() -> None:
    assert people((0, 9, [1, 0]), (20, 29, [0, 1]), (40, 49, [2, 0.2])) == [0, 1, 0]


def test_two_faces_at_one_time_are_two_persons_however_alike() -> None:
    assert people((0, 9, [1, 0]), (9, 19, [1, 0])) == [0, 1]
    # The third is one of the twins, not both.
    assert people((0, 9, [1, 0]), (5, 19, [1, 0.1]), (20, 29, [1, 0])) == [0, 1, 0]


def test_without_embeddings_only_faces_at_one_time_are_different_persons() -> None:
    found = people((0, 9, None), (5, 29, None), (10, 19, None), (30, 39, None))
    assert set(found) == {0, 1}
    assert found[:3] == [0, 1, 0]
    assert people() == []


@pytest.mark.parametrize(("limit", "expected"), [(0.9, [0, 1]), (0.6, [0, 0])])
def test_the_limit_decides(limit: float, expected: list[int]) -> None:
    assert people((0, 9, [1, 0]), (20, 29, [1, 1]), limit=limit) == expected


@given(st.lists(st.integers(0, 3), max_size=25), st.randoms(use_true_random=False))
def test_noisy_looks_of_known_people_are_sorted_rightly(who: list[int], random: object) -> None:
    noise = np.random.default_rng(random.randint(0, 10**6))  # type: ignore[attr-defined]
    looks = [(np.eye(8)[one] + noise.normal(0, 0.1, 8)).tolist() for one in who]
    found = people(*((10 * n, 10 * n + 5, look) for n, look in enumerate(looks)))
    order = list(dict.fromkeys(who))
    assert found == [order.index(one) for one in who]
