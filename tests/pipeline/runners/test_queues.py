from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runners.queues import Batch, Queues
from pipeline.stage import CANCELLED, Ended, Item, Outcome, Result, Stage


def stages(*batch_sizes: int) -> list[Stage]:
    class Plain(Stage):
        version = 1

        def identity(self) -> None:
            return None

        def process(self, batch: object) -> list[Result]:
            return []

    made = []
    for number, size in enumerate(batch_sizes):
        kind = type(f"Stage{number}", (Plain,), {"name": f"s{number}", "batch_size": size})
        made.append(kind(None))
    return made


def items(number: int) -> list[Item]:
    return [Item(f"{n}", {}) for n in range(number)]


def taken(batch: Batch | None) -> tuple[str, list[str]] | None:
    return batch and (batch.stage.name, [item.id for item in batch.items])


def test_what_has_begun_is_finished_first() -> None:
    queues = Queues(stages(1, 1), items(3))
    workers = {"s0": 1, "s1": 1}
    first = queues.take(workers, workers)
    assert taken(first) == ("s0", ["0"])
    assert first is not None
    queues.advance(first, first.items)
    assert taken(queues.take(workers, workers)) == ("s1", ["0"])


def test_batches_are_filled_while_more_can_come() -> None:
    queues = Queues(stages(1, 4), items(3))
    workers = {"s0": 1, "s1": 1}
    order = []
    while batch := queues.take(workers, workers):
        order.append(taken(batch))
        queues.advance(batch, batch.items)
    assert order == [("s0", ["0"]), ("s0", ["1"]), ("s0", ["2"]), ("s1", ["0", "1", "2"])]
    assert queues.left == 0


def test_worker_with_nothing_else_to_do_takes_a_part_of_a_batch() -> None:
    queues = Queues(stages(1, 4), items(3))
    first = queues.take({"s0"}, {"s0": 1, "s1": 1})
    assert first is not None
    queues.advance(first, first.items)
    assert taken(queues.take({"s1"}, {"s0": 1, "s1": 1})) == ("s1", ["0"])


def test_the_last_items_are_shared_out_among_the_workers() -> None:
    queues = Queues(stages(4), items(9))
    sizes = []
    while batch := queues.take({"s0"}, {"s0": 3}):
        sizes.append(len(batch.items))
    assert sizes == [3, 2, 2, 1, 1]


def test_fast_stage_waits_for_the_slow_one_behind_it() -> None:
    queues = Queues(stages(1, 2), items(100))
    workers = {"s0": 8, "s1": 2}
    fed = 0
    while batch := queues.take({"s0"}, workers):
        queues.advance(batch, batch.items)
        fed += 1
    assert fed == 2 * (1 + 2)
    assert queues.take({"s1"}, workers) is not None
    assert queues.take({"s0"}, workers) is not None


def test_lost_batch_is_next_again() -> None:
    queues = Queues(stages(2), items(4))
    lost = queues.take({"s0"}, {"s0": 1})
    assert lost is not None
    queues.put_back(lost)
    assert taken(queues.take({"s0"}, {"s0": 1})) == ("s0", ["0", "1"])


def test_other_items_than_given_are_refused() -> None:
    queues = Queues(stages(2), items(2))
    batch = queues.take({"s0"}, {"s0": 1})
    assert batch is not None
    with pytest.raises(ValueError, match="other items"):
        queues.advance(batch, batch.items[:1])


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    number=st.integers(0, 30),
    pools=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    choices=st.lists(st.integers(0, 5), min_size=200, max_size=200),
)
def test_all_items_get_through_whatever_happens(
    sizes: list[int], number: int, pools: list[int], choices: Sequence[int]
) -> None:
    """Two workers in each of up to three pools; choices say which dies, ends items, goes on."""
    chain = stages(*sizes)
    queues = Queues(chain, items(number))
    kinds = sorted(set(pools[: len(chain)]))
    names = [{s.name for s, p in zip(chain, pools, strict=False) if p == kind} for kind in kinds]
    workers = {stage.name: 2 for stage in chain}
    todo = list(choices)
    while queues.left:
        out = [batch for able in names * 2 if (batch := queues.take(able, workers))]
        assert out, "items are left, all workers are idle, and nothing is due"
        for batch in out:
            choice = todo.pop() if todo else 5
            if choice == 0:
                queues.put_back(batch)
                continue
            ended = Ended(batch.stage.name, Outcome.FAILED, "x") if choice == 1 else None
            queues.advance(batch, [Item(i.id, {}, ended=ended) for i in batch.items])
    assert sorted(int(item.id) for item in queues.done) == list(range(number))


@given(st.integers(1, 9), st.integers(0, 12), st.integers(1, 3))
def test_a_drained_run_finishes_what_is_in_work_and_gives_out_nothing(
    number: int, begun: int, size: int
) -> None:
    queues = Queues(stages(size, 1), items(number))
    workers = {"s0": 2, "s1": 2}
    in_work = []
    for turn in range(begun):
        if batch := queues.take(workers, workers):
            in_work.append(batch)
        if turn % 2 and in_work:
            first = in_work.pop(0)
            queues.advance(first, first.items)
    queues.drain()
    assert queues.take(workers, workers) is None
    for lost, batch in enumerate(in_work):
        if lost % 2:
            queues.put_back(batch)
        else:
            queues.advance(batch, batch.items)
        assert queues.take(workers, workers) is None
    assert queues.left == 0
    assert sorted(item.id for item in queues.done) == sorted(item.id for item in items(number))
    kept = [item for item in queues.done if item.ended]
    assert all(item.ended and item.ended.reason == CANCELLED for item in kept)
