import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.events import Event, ItemDone, StageProgress
from pipeline.progress import ProgressTracker, RichProgress
from pipeline.stage import Outcome


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def end(
    stage: str,
    item: str,
    seconds: float,
    *,
    computed: bool = True,
    outcome: Outcome = Outcome.OK,
) -> ItemDone:
    return ItemDone(stage, item, outcome, "", computed, seconds)


def test_before_the_first_event() -> None:
    tracker = ProgressTracker(["a", "b"], 4)
    assert (tracker.fraction, tracker.eta_s) == (0.0, None)
    assert [(row.stage, row.done, row.items, row.rate) for row in tracker.rows()] == [
        ("a", 0, 4, 0),
        ("b", 0, 4, 0),
    ]


def test_nothing_to_do_is_done() -> None:
    assert ProgressTracker(["a"], 0).fraction == 1.0
    assert ProgressTracker([], 3).fraction == 1.0


def test_stages_weigh_as_much_as_they_take() -> None:
    clock = Clock()
    tracker = ProgressTracker(["quick", "slow"], 2, clock)
    clock.now_s += 1
    tracker.observe(end("quick", "0", 1))
    clock.now_s += 9
    tracker.observe(end("slow", "0", 9))
    assert tracker.fraction == pytest.approx(0.5)
    assert tracker.eta_s == pytest.approx(10)
    tracker.observe(end("quick", "1", 1))
    assert tracker.fraction == pytest.approx(0.55)


def test_time_left_counts_workers_that_work_at_the_same_time() -> None:
    clock = Clock()
    tracker = ProgressTracker(["a"], 8, clock)
    clock.now_s += 10
    for item in "0123":
        tracker.observe(end("a", item, 10))
    assert tracker.eta_s == pytest.approx(10)


def test_frames_tell_the_time_left_before_any_item_has_ended() -> None:
    clock = Clock()
    tracker = ProgressTracker(["a"], 1, clock)
    tracker.observe(StageProgress("a", "0", 0, 100))
    clock.now_s += 5
    tracker.observe(StageProgress("a", "0", 25, 100))
    assert tracker.fraction == pytest.approx(0.25)
    assert tracker.eta_s == pytest.approx(15)
    [row] = tracker.rows()
    assert (row.rate, row.unit) == (pytest.approx(5), "frames/s")


def test_reused_items_count_as_done_and_not_as_speed() -> None:
    clock = Clock()
    tracker = ProgressTracker(["a"], 10, clock)
    for item in "012345":
        tracker.observe(end("a", item, 100, computed=False))
    assert tracker.eta_s is None
    clock.now_s += 10
    tracker.observe(end("a", "6", 10))
    [row] = tracker.rows()
    assert (row.ok, row.reused, row.rate, row.unit) == (7, 6, pytest.approx(0.1), "items/s")


def test_item_that_ended_early_is_done_for_the_stages_after() -> None:
    tracker = ProgressTracker(["a", "b", "c"], 1)
    tracker.observe(end("a", "0", 1))
    tracker.observe(end("b", "0", 1, outcome=Outcome.FAILED))
    assert (tracker.fraction, tracker.eta_s) == (1.0, 0.0)
    assert [(row.ok, row.failed, row.done) for row in tracker.rows()] == [
        (1, 0, 1),
        (0, 1, 1),
        (0, 0, 1),
    ]


def test_frames_of_a_second_attempt_are_not_counted_twice() -> None:
    clock = Clock()
    tracker = ProgressTracker(["a"], 1, clock)
    for done in (0, 50, 10, 60):
        tracker.observe(StageProgress("a", "0", done, 100))
    clock.now_s += 1
    assert tracker.rows()[0].rate == pytest.approx(60)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(-1, 9), st.booleans()),
        max_size=60,
    )
)
def test_fraction_never_falls_and_stays_within_bounds(
    told: list[tuple[int, int, int, bool]],
) -> None:
    clock = Clock()
    tracker = ProgressTracker(["a", "b", "c"], 5, clock)
    ended = set()
    last = 0.0
    for stage, item, amount, ends in told:
        clock.now_s += 0.5
        if (stage, item) in ended or any((s, item) in ended for s in range(stage, 3)):
            continue
        event: Event = StageProgress("abc"[stage], str(item), amount, 8)
        if ends:
            event = end("abc"[stage], str(item), float(max(0, amount)))
            ended.add((stage, item))
        tracker.observe(event)
        assert last <= tracker.fraction <= 1.0
        assert tracker.eta_s is None or tracker.eta_s >= 0
        last = tracker.fraction


def test_lines_go_to_stderr_when_it_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with RichProgress(["a", "b"], 2) as progress:
        progress.observe(end("a", "0", 1))
        progress.observe(end("a", "1", 1, outcome=Outcome.CRASHED))
    out, err = capsys.readouterr()
    assert out == ""
    assert "a 2/2" in err
    assert "1 crashed" in err
    assert "\x1b" not in err


def test_bars_go_to_stderr_in_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with RichProgress(["a", "[b]"], 2) as progress:
        progress.observe(end("a", "0", 1))
        progress.observe(end("[b]", "0", 1))
    out, err = capsys.readouterr()
    assert out == ""
    assert "1/2" in err


def test_what_a_stage_counts_is_named() -> None:
    clock = iter(range(100)).__next__
    tracker = ProgressTracker(["train"], 1, clock=lambda: float(clock()))
    tracker.observe(StageProgress("train", "0", 0, 10, "steps"))
    assert tracker.rows()[0].unit == "steps/s"
