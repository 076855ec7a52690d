"""Fits the stages to the machine: how many workers of which kind, and why something cannot run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil

from pipeline.errors import ConfigurationError
from pipeline.stage import Stage


@dataclass(frozen=True)
class Node:
    """What one machine of the cluster has."""

    cpus: float
    gpus: float
    memory_gib: float


@dataclass(frozen=True)
class Pool:
    """Equal workers, each of which can run any of these stages, one at a time.

    Stages that ask for the same hardware share their workers, so no core waits beside a queue that
    belongs to another stage.
    """

    stages: tuple[str, ...]
    threads: int
    """OMP_NUM_THREADS of a worker."""
    cpus: float
    gpus: float
    memory_gib: float
    workers: int = 1


def fit(stages: Sequence[Stage], nodes: Sequence[Node], most: int) -> list[Pool]:
    """Pools that fit the nodes together, those with GPUs first; at most `most` workers in each.

    A stage that asks for more cores than the largest node has gets what that has. When not even
    one worker of each pool fits beside the others, all ask for the half, the quarter, ... of their
    hardware: they share it, and nothing waits for ever. Raises ConfigurationError for GPUs or
    memory that no node has.
    """
    pools = _pools(stages, nodes)
    share = 1.0
    while not _pack(nodes, [_shared(pool, share) for pool in pools]):
        share /= 2
    pools = [_shared(pool, share) for pool in pools]
    grown = True
    while grown:
        grown = False
        for index, pool in enumerate(pools):
            more = [*pools[:index], replace(pool, workers=pool.workers + 1), *pools[index + 1 :]]
            if pool.workers < most and _pack(nodes, more):
                pools, grown = more, True
    return pools


def _pools(stages: Sequence[Stage], nodes: Sequence[Node]) -> list[Pool]:
    if not any(node.cpus for node in nodes):
        raise ConfigurationError("no machine of the Ray cluster offers cores: add one with some")
    by_hardware: dict[tuple[float, float], list[Stage]] = {}
    for stage in stages:
        _refuse(stage, nodes)
        cpus = min(stage.resources.cpus, max(node.cpus for node in nodes))
        by_hardware.setdefault((stage.resources.gpus, cpus), []).append(stage)
    return [
        Pool(
            stages=tuple(stage.name for stage in group),
            threads=max(1, int(cpus)),
            cpus=cpus,
            gpus=gpus,
            memory_gib=max(stage.resources.memory_gib for stage in group),
        )
        for (gpus, cpus), group in sorted(by_hardware.items(), reverse=True, key=lambda kv: kv[0])
    ]


def _refuse(stage: Stage, nodes: Sequence[Node]) -> None:
    asked = stage.resources
    gpus = max(node.gpus for node in nodes)
    memory_gib = max(node.memory_gib for node in nodes)
    if asked.gpus > gpus:
        raise ConfigurationError(
            f"stage {stage.name} asks for {asked.gpus:g} GPU, and no machine has more than "
            f"{gpus:g}: leave out --gpus, or name a cluster with GPUs with --ray"
        )
    if asked.memory_gib > memory_gib:
        raise ConfigurationError(
            f"stage {stage.name} asks for {asked.memory_gib:g} GiB of memory, and no machine has "
            f"more than {memory_gib:.1f} GiB free for it"
        )


def _shared(pool: Pool, share: float) -> Pool:
    gpus = pool.gpus * share
    return replace(
        pool,
        cpus=pool.cpus * share,
        gpus=float(ceil(gpus)) if gpus > 1 else gpus,  # Ray divides one device, not several
        memory_gib=pool.memory_gib * share,
    )


def _pack(nodes: Iterable[Node], pools: Sequence[Pool]) -> bool:
    """Whether all workers of all pools find a place, each on the first node with room."""
    room = list(nodes)
    for pool in pools:
        for _ in range(pool.workers):
            for index, node in enumerate(room):
                rest = Node(
                    node.cpus - pool.cpus,
                    node.gpus - pool.gpus,
                    node.memory_gib - pool.memory_gib,
                )
                if min(rest.cpus, rest.gpus, rest.memory_gib) > -1e-6:
                    room[index] = rest
                    break
            else:
                return False
    return True
