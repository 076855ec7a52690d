"""How far a run is: counts, rates and the time left; shown as bars in a terminal, else as lines."""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from pipeline.events import Event, StageProgress
from pipeline.stage import Outcome

_BARS_EVERY_S = 0.1
_LINE_EVERY_S = 10.0
_NEARLY_NOTHING = 0.01  # of an item: too little to foretell its length
_SETTLED_S = 0.9  # rates over less time are noise


@dataclass(frozen=True)
class StageRow:
    """One stage in a table of progress."""

    stage: str
    items: int
    done: float
    """Items that have ended this stage or an earlier one; a fraction for those in work."""
    ok: int
    filtered: int
    failed: int
    crashed: int
    reused: int
    rate: float
    """Frames or steps per second where the stage reports them, else items; 0 at first."""
    unit: str


@dataclass
class _Open:
    """An item in work that has reported."""

    share: float
    since_s: float


@dataclass
class _Tally:
    """What is known of one stage."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    reused: int = 0
    skipped: int = 0
    seconds: float = 0.0
    computed_s: float = 0.0
    amount: int = 0
    """Frames or steps reported, over all items."""
    unit: str = "items"
    since_s: float = math.inf
    last_s: float = -math.inf
    open: dict[str, _Open] = field(default_factory=dict)
    reported: dict[str, int] = field(default_factory=dict)

    @property
    def ended(self) -> int:
        return self.outcomes.total()

    @property
    def partial(self) -> float:
        return sum(item.share for item in self.open.values())


class ProgressTracker:
    """Adds up the events of one run. All figures are defined from before the first event on."""

    def __init__(
        self,
        stage_names: Sequence[str],
        n_items: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names = list(stage_names)
        self._n_items = n_items
        self._clock = clock
        self._tallies = {name: _Tally() for name in stage_names}
        self._shown = 0.0

    def observe(self, event: Event) -> None:
        """Take in one event."""
        tally = self._tallies[event.stage]
        now_s = tally.last_s = self._clock()
        if isinstance(event, StageProgress):
            share = min(1.0, event.done / event.total) if event.total > 0 else 0.0
            tally.since_s = min(tally.since_s, now_s)
            tally.open.setdefault(event.item_id, _Open(share, now_s)).share = share
            before = tally.reported.get(event.item_id, 0)
            tally.reported[event.item_id] = max(before, event.done)  # an attempt may start anew
            tally.amount += max(0, event.done - before)
            tally.unit = event.unit
            return
        tally.open.pop(event.item_id, None)
        tally.reported.pop(event.item_id, None)
        tally.outcomes[event.outcome] += 1
        tally.seconds += event.seconds
        if event.computed:
            tally.since_s = min(tally.since_s, now_s - event.seconds)
            tally.computed_s += event.seconds
        else:
            tally.reused += 1
        if event.outcome is not Outcome.OK:
            for name in self._names[self._names.index(event.stage) + 1 :]:
                self._tallies[name].skipped += 1

    @property
    def fraction(self) -> float:
        """Share of the work done, 0 to 1; stages weigh as much as they take. Never falls."""
        costs = self._costs()
        whole = sum(costs.values()) * self._n_items
        if not whole:
            return 1.0
        done = sum(cost * self._done(name) for name, cost in costs.items())
        self._shown = max(self._shown, min(1.0, done / whole))
        return self._shown

    @property
    def eta_s(self) -> float | None:
        """Seconds left at the speed so far; None while nothing has been computed."""
        costs = self._costs()
        left = sum(cost * (self._n_items - self._done(name)) for name, cost in costs.items())
        worked = sum(
            tally.computed_s + costs[name] * tally.partial for name, tally in self._tallies.items()
        )
        elapsed_s = self._clock() - min((t.since_s for t in self._tallies.values()), default=0.0)
        if left <= 0:
            return 0.0
        return left * elapsed_s / worked if worked > 0 and elapsed_s > _SETTLED_S else None

    def rows(self) -> list[StageRow]:
        """One row for each stage, in order."""
        return [self._row(name, tally) for name, tally in self._tallies.items()]

    def _row(self, name: str, tally: _Tally) -> StageRow:
        until_s = self._clock() if self._done(name) < self._n_items else tally.last_s
        elapsed_s = until_s - tally.since_s
        amount = tally.amount or tally.ended - tally.reused
        return StageRow(
            stage=name,
            items=self._n_items,
            done=self._done(name),
            ok=tally.outcomes[Outcome.OK],
            filtered=tally.outcomes[Outcome.FILTERED],
            failed=tally.outcomes[Outcome.FAILED],
            crashed=tally.outcomes[Outcome.CRASHED],
            reused=tally.reused,
            rate=amount / elapsed_s if elapsed_s > _SETTLED_S else 0.0,
            unit=f"{tally.unit}/s",
        )

    def _done(self, name: str) -> float:
        tally = self._tallies[name]
        return tally.ended + tally.skipped + tally.partial

    def _costs(self) -> dict[str, float]:
        """Seconds an item takes in each stage: measured, else foretold from items in work, else
        the mean of the other stages.
        """
        known = {name: cost for name, tally in self._tallies.items() if (cost := self._cost(tally))}
        mean = sum(known.values()) / len(known) if known else 1.0
        return {name: known.get(name, mean) for name in self._names}

    def _cost(self, tally: _Tally) -> float:
        if tally.seconds:
            return tally.seconds / tally.ended
        now_s = self._clock()
        shares = [item for item in tally.open.values() if item.share > _NEARLY_NOTHING]
        return sum((now_s - item.since_s) / item.share for item in shares) / max(1, len(shares))


class RichProgress:
    """Shows a run on stderr: one bar a stage in a terminal, else a line now and then.

    A context manager whose `observe` is passed as `on_event`.
    """

    def __init__(self, stage_names: Sequence[str], n_items: int) -> None:
        self.tracker = ProgressTracker(stage_names, n_items)
        self._console = Console(stderr=True)
        self._every_s = _BARS_EVERY_S if self._console.is_terminal else _LINE_EVERY_S
        self._shown_s = time.monotonic()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            console=self._console,
        )
        self._tasks = {
            name: self._bars.add_task(name, total=n_items, figures="") for name in stage_names
        }
        self._all = self._bars.add_task("all", total=1.0, figures="")

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._show()
        self._bars.stop()

    def observe(self, event: Event) -> None:
        """Take in one event and show it."""
        self.tracker.observe(event)
        if time.monotonic() - self._shown_s > self._every_s:
            self._shown_s = time.monotonic()
            self._show()

    def _show(self) -> None:
        if self._console.is_terminal:
            for row in self.tracker.rows():
                self._bars.update(self._tasks[row.stage], completed=row.done, figures=_figures(row))
            self._bars.update(self._all, completed=self.tracker.fraction, figures=self._outlook())
        else:
            stages = "; ".join(f"{row.stage} {_figures(row)}" for row in self.tracker.rows())
            self._console.print(Text(f"{self._outlook()}: {stages}"), soft_wrap=True)

    def _outlook(self) -> str:
        eta_s = self.tracker.eta_s
        left = "" if eta_s is None else f", about {_duration(eta_s)} left"
        return f"{self.tracker.fraction:.0%}{left}"


def _figures(row: StageRow) -> str:
    counts = {
        "filtered": row.filtered,
        "failed": row.failed,
        "crashed": row.crashed,
        "reused": row.reused,
    }
    notes = [f"{count} {word}" for word, count in counts.items() if count]
    rate = [f"{row.rate:.3g} {row.unit}"] if row.rate else []
    return ", ".join([f"{math.floor(row.done)}/{row.items}", *rate, *notes])


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
