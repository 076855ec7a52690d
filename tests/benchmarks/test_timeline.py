"""Every moment belongs to one part: on a clock that moves only where the work says so."""

import itertools

import pytest
import torch
from torch import nn

from benchmarks.measure.timeline import PartTime, Timeline, mean_parts


class MadeClock:
    def __init__(self):
        self.now_s = 0.0

    def stamp(self):
        return self.now_s

    def durations_s(self, stamps):
        return [last - first for first, last in itertools.pairwise(stamps)]


class Costly(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, clock, forward_s, backward_s):
        clock.now_s += forward_s
        ctx.clock, ctx.backward_s = clock, backward_s
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        ctx.clock.now_s += ctx.backward_s
        return gradient, None, None, None


class Part(nn.Module):
    def __init__(self, clock, forward_s, backward_s, inner=None):
        super().__init__()
        self.costs = clock, forward_s, backward_s
        self.inner = inner

    def forward(self, x):
        seen = Costly.apply(x, *self.costs)
        return seen if self.inner is None else Costly.apply(self.inner(seen), *self.costs)


def test_forward_and_backward_time_goes_to_the_part_that_takes_it():
    clock = MadeClock()
    inner = Part(clock, 1.0, 2.0)
    first, second = Part(clock, 4.0, 8.0), Part(clock, 16.0, 32.0, inner)
    timeline = Timeline(clock, base="before")
    clock.now_s += 64.0
    for part, module in {"first": first, "second": second, "inner": inner}.items():
        timeline.watch_module(part, module)
    timeline.become("rest")
    out = second(first(torch.zeros(3, requires_grad=True)))
    clock.now_s += 128.0
    loss = timeline.watched("loss", lambda x: Costly.apply(x, clock, 256.0, 512.0).sum())(out)
    loss.backward()
    timeline.become("rest")
    clock.now_s += 1024.0
    parts = {row.part: (row.forward_s, row.backward_s) for row in timeline.parts()}
    assert parts == {
        "before": (64.0, 0.0),
        "first": (4.0, 8.0),
        # Backward, what the outer part does below its inner one counts to the inner one.
        "second": (32.0, 32.0),
        "inner": (1.0, 2.0 + 32.0),
        "rest": (128.0 + 1024.0, 0.0),
        "loss": (256.0, 512.0),
    }
    assert sum(map(sum, parts.values())) == clock.now_s


def test_removed_hooks_stamp_no_more():
    clock = MadeClock()
    module = Part(clock, 1.0, 1.0)
    timeline = Timeline(clock)
    for handle in timeline.watch_module("part", module):
        handle.remove()
    module(torch.zeros(1))
    assert timeline.parts() == [PartTime("rest", 1.0, 0.0)]


def test_means_over_runs_keep_a_part_that_one_run_lacks():
    runs = [[PartTime("a", 1.0, 2.0)], [PartTime("a", 3.0, 2.0), PartTime("b", 0.0, 4.0)]]
    a, b = mean_parts(runs)
    assert (a["part"], a["forward_s"], a["backward_s"]) == ("a", 2.0, 2.0)
    assert (b["forward_s"], b["backward_s"]) == (0.0, 2.0)
    assert a["share"] + b["share"] == pytest.approx(1)
    assert b["share"] == pytest.approx(2 / 6)
