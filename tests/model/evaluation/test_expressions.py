"""Neighbours and probes on codes whose answer is known."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.evaluation.expressions import linear_probe, neighbour_identity


def persons(count, frames):
    """Persons, clips and seconds of `count` persons with one clip of that many frames each."""
    person_N = np.repeat(np.arange(count), frames)
    return person_N, person_N.astype(str), np.tile(np.arange(frames) / 25, count)


def asked_one_by_one(code_ND, person_N, clip_N, time_s_N, neighbours, apart_s):
    """Accuracy and chance as means over persons, frame by frame, or None."""
    right, luck = {}, {}
    for i, person in enumerate(person_N):
        others = [
            j
            for j in range(len(person_N))
            if clip_N[j] != clip_N[i] or abs(time_s_N[j] - time_s_N[i]) >= apart_s
        ]
        own = [j for j in others if person_N[j] == person]
        if len(own) < neighbours:
            continue
        others.sort(key=lambda j, i=i: np.linalg.norm(code_ND[i] - code_ND[j]))
        named = [person_N[j] for j in others[:neighbours]]
        votes = Counter(named)
        winner = next(name for name in named if votes[name] == max(votes.values()))
        right.setdefault(person, []).append(winner == person)
        luck.setdefault(person, []).append(len(own) / len(others))
    if not right:
        return None
    return tuple(np.mean([np.mean(one) for one in each.values()]) for each in (right, luck))


@given(
    seed=st.integers(0, 2**32 - 1),
    neighbours=st.integers(1, 4),
    apart_s=st.sampled_from([0.01, 0.1, 0.4, math.inf]),
)
def test_neighbours_are_asked_as_one_by_one(seed, neighbours, apart_s):
    rng = np.random.default_rng(seed)
    clip_N = rng.integers(0, 6, 40)
    person_N = np.array([0, 0, 0, 1, 1, 2])[clip_N]
    time_s_N = rng.permutation(40) / 25
    code_ND = rng.normal(size=(40, 3)) + rng.uniform(0, 2) * np.eye(3)[person_N]
    ask = {"neighbours": neighbours, "apart_s": apart_s}
    score = neighbour_identity(code_ND, person_N, clip_N, time_s_N, **ask)
    expected = asked_one_by_one(code_ND, person_N, clip_N, time_s_N, **ask)
    found = None if score is None else (score.accuracy, score.chance)
    assert found == (None if expected is None else pytest.approx(expected))


def test_persons_that_lie_apart_are_all_told():
    person_N, clip_N, time_s_N = persons(3, 30)
    code_ND = np.random.default_rng(0).normal(size=(90, 4)) + 100 * person_N[:, None]
    score = neighbour_identity(code_ND, person_N, clip_N, time_s_N)
    assert (score.accuracy, score.frames, score.persons) == (1, 90, 3)


def test_noise_is_at_chance():
    person_N, clip_N, time_s_N = persons(5, 200)
    code_ND = np.random.default_rng(0).normal(size=(1000, 8))
    score = neighbour_identity(code_ND, person_N, clip_N, time_s_N, neighbours=1)
    assert score.chance == pytest.approx(1 / 5, abs=0.02)
    assert score.accuracy == pytest.approx(score.chance, abs=0.04)


def test_frames_of_the_same_instant_are_not_asked():
    """Each frame has a twin 0.04 s apart; everything else lies nearer to the other person."""
    time_s_N = np.tile([0, 0.04, 1, 1.04], 2)
    person_N = np.repeat([0, 1], 4)
    code_ND = np.array([[0, 0.1, 100, 100.1, 1, 1.1, 101, 101.1]]).T

    def accuracy(apart_s):
        asked = neighbour_identity(
            code_ND, person_N, person_N, time_s_N, neighbours=1, apart_s=apart_s
        )
        return asked.accuracy

    assert accuracy(0.02) == 1
    assert accuracy(0.4) == 0


def test_other_takes_count_only_persons_who_have_some():
    person_N = np.repeat([0, 0, 1, 2], 10)
    clip_N = np.repeat(["a", "b", "c", "d"], 10)
    time_s_N = np.tile(np.arange(10) / 25, 4)
    ask = {"neighbours": 3, "apart_s": math.inf}
    alike_ND = np.repeat([[0.0], [5.0], [50.0], [90.0]], 10, axis=0)
    score = neighbour_identity(alike_ND, person_N, clip_N, time_s_N, **ask)
    assert (score.accuracy, score.frames, score.persons) == (1, 20, 1)
    assert score.chance == pytest.approx(10 / 30)
    unlike_ND = np.repeat([[0.0], [89.0], [1.0], [90.0]], 10, axis=0)
    assert neighbour_identity(unlike_ND, person_N, clip_N, time_s_N, **ask).accuracy == 0


def test_one_person_has_no_probe():
    with pytest.raises(ValueError, match="two persons"):
        linear_probe(np.zeros((3, 1)), np.zeros(3), np.zeros(3), np.zeros(3))


def test_a_planted_map_is_read_off_persons_left_out():
    """Whatever offset a person or a take has in code and quantity."""
    rng = np.random.default_rng(1)
    person_N, clip_N, _ = persons(6, 50)
    code_ND = rng.normal(size=(300, 10))
    target_N = code_ND @ rng.normal(size=10) + 20 * person_N
    code_ND += 9 * rng.normal(size=(6, 10))[person_N]
    score = linear_probe(code_ND, target_N, person_N, clip_N)
    assert score.r_worst > 0.999
    assert score.explained > 0.999
    assert abs(score.chance_r) < 0.2
    assert score.persons == 6


def test_a_code_with_unused_directions_is_read_as_well():
    """As beta' is, which lies in ten of its 256 dimensions."""
    rng = np.random.default_rng(2)
    person_N, clip_N, _ = persons(4, 40)
    few_ND = rng.normal(size=(160, 3))
    target_N = few_ND @ [1.0, -2.0, 0.5]
    basis_ED = np.linalg.qr(rng.normal(size=(64, 3)))[0].T
    assert linear_probe(few_ND @ basis_ED, target_N, person_N, clip_N).r_worst > 0.999


def test_noise_is_not_read():
    rng = np.random.default_rng(3)
    person_N, clip_N, _ = persons(10, 50)
    score = linear_probe(rng.normal(size=(500, 10)), rng.normal(size=500), person_N, clip_N)
    assert abs(score.r) < 0.2
    assert score.explained < 0.05


def test_a_map_that_holds_for_one_person_only_is_not_found_in_the_others():
    """Each person's own map would fit all frames; left out, it is worth nothing."""
    rng = np.random.default_rng(4)
    person_N, clip_N, _ = persons(8, 50)
    code_ND = rng.normal(size=(400, 8))
    target_N = code_ND[np.arange(400), person_N]
    score = linear_probe(code_ND, target_N, person_N, clip_N)
    assert score.r < 0.2


def test_a_quantity_that_never_moves_is_not_read():
    person_N, clip_N, _ = persons(3, 20)
    code_ND = np.random.default_rng(5).normal(size=(60, 2))
    score = linear_probe(code_ND, 1.0 * person_N, person_N, clip_N)
    assert (score.r, score.r_worst, score.explained) == (0, 0, 0)


def test_probes_are_the_same_again():
    rng = np.random.default_rng(6)
    person_N, clip_N, _ = persons(3, 20)
    code_ND, target_N = rng.normal(size=(60, 2)), rng.normal(size=60)
    first, again = (linear_probe(code_ND, target_N, person_N, clip_N) for _ in range(2))
    assert first == again
