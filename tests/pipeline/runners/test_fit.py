import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError
from pipeline.runners.fit import Node, Pool, fit
from pipeline.stage import Resources, Result, Stage


def stage(name: str, **asks: float) -> Stage:
    class Asking(Stage):
        version = 1
        resources = Resources(**asks)

        def identity(self) -> None:
            return None

        def process(self, batch: object) -> list[Result]:
            return []

    Asking.name = name
    return Asking(None)


def node(cpus: float, gpus: float = 0, memory_gib: float = 64) -> Node:
    return Node(cpus, gpus, memory_gib)


def workers(pools: list[Pool]) -> dict[tuple[str, ...], int]:
    return {pool.stages: pool.workers for pool in pools}


def test_stages_with_equal_needs_share_their_workers() -> None:
    pools = fit([stage("a"), stage("b"), stage("c")], [node(8)], most=100)
    assert workers(pools) == {("a", "b", "c"): 8}


def test_gpu_stage_has_its_own_workers_and_the_rest_of_the_cores_is_used() -> None:
    pools = fit([stage("a"), stage("b", gpus=1), stage("c")], [node(8, gpus=1)], most=100)
    assert workers(pools) == {("b",): 1, ("a", "c"): 7}


def test_fraction_of_a_gpu_is_shared() -> None:
    pools = fit([stage("a", gpus=0.25)], [node(8, gpus=2)], most=100)
    assert workers(pools) == {("a",): 8}


def test_no_more_workers_than_items() -> None:
    assert fit([stage("a")], [node(64)], most=3)[0].workers == 3


def test_cores_are_clamped_to_the_largest_machine_and_threads_follow() -> None:
    [pool] = fit([stage("a", cpus=16)], [node(2), node(4)], most=100)
    assert (pool.cpus, pool.threads, pool.workers) == (4, 4, 1)


def test_memory_bounds_the_number_of_workers() -> None:
    [pool] = fit([stage("a", memory_gib=3)], [node(8, memory_gib=10)], most=100)
    assert pool.workers == 3


@pytest.mark.parametrize(
    ("asks", "sentence"),
    [
        ({"gpus": 1}, "stage a asks for 1 GPU, and no machine has more than 0"),
        ({"memory_gib": 128}, "stage a asks for 128 GiB of memory, and no machine has more"),
    ],
)
def test_what_no_machine_has_is_refused_with_a_sentence(
    asks: dict[str, float], sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        fit([stage("a", **asks)], [node(8)], most=100)


@pytest.mark.parametrize("nodes", [[], [node(0)]])
def test_cluster_without_cores_is_refused(nodes: list[Node]) -> None:
    with pytest.raises(ConfigurationError, match="offers cores"):
        fit([stage("a")], nodes, most=100)


cpus = st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0, 16.0])
gpus = st.sampled_from([0.0, 0.0, 0.25, 1.0, 2.0, 3.0])


@given(
    asked=st.lists(st.tuples(cpus, gpus, st.sampled_from([0.5, 4.0])), min_size=1, max_size=6),
    nodes=st.lists(st.sampled_from([1, 2, 16]), min_size=1, max_size=3),
    most=st.integers(1, 40),
)
def test_whatever_is_asked_fits_together(
    asked: list[tuple[float, float, float]], nodes: list[int], most: int
) -> None:
    stages = [stage(f"s{n}", cpus=c, gpus=g, memory_gib=m) for n, (c, g, m) in enumerate(asked)]
    machines = [node(cores, gpus=3, memory_gib=4) for cores in nodes]
    pools = fit(stages, machines, most)
    assert sorted(name for pool in pools for name in pool.stages) == [s.name for s in stages]
    assert all(1 <= pool.workers <= most for pool in pools)
    for have, need in [
        (sum(nodes), [pool.cpus * pool.workers for pool in pools]),
        (3 * len(nodes), [pool.gpus * pool.workers for pool in pools]),
        (4 * len(nodes), [pool.memory_gib * pool.workers for pool in pools]),
    ]:
        assert math.fsum(need) <= have + 1e-6
    assert all(pool.gpus <= 1 or float(pool.gpus).is_integer() for pool in pools)
