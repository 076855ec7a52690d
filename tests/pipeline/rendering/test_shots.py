"""The takes between a film's cuts, and the order of what is made of a job's shots."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.rendering.job_file import parse_job
from pipeline.rendering.plan import RenderPlan
from pipeline.rendering.shots import in_order, takes_of_film
from pipeline.stage import Item
from pipeline.stages.ingest import TICKS
from storage.ledger import Commit, Ledger
from storage.schemas import ticks_schema
from storage.store import open_store
from storage.tables import write_table


def ingest(ledger: Ledger, folder: Path, pts_s: list[float], shots: list[int]) -> Commit:
    """The stage's commit of a film whose frames have these times and shots."""
    ticks = {"frame_index": range(len(pts_s)), "pts_s": pts_s, "shot": shots}
    write_table(folder / "made.parquet", ticks, ticks_schema())
    files = {TICKS: folder / "made.parquet"}
    return ledger.commit("ingest", "a" * 64, outcome="ok", files=files, started_at="", seconds=0.0)


def test_takes_begin_at_the_cuts_and_the_last_one_ends_with_the_film(
    ledger: Ledger, tmp_path: Path
) -> None:
    pts_s = [frame / 25 for frame in range(10)]
    made = ingest(ledger, tmp_path, pts_s, [0, 0, 0, 1, 1, 1, 1, 2, 2, 2])
    assert takes_of_film(ledger, made, tmp_path) == [(0.0, 0.12), (0.12, 0.28), (0.28, np.inf)]
    assert not (tmp_path / TICKS).exists()  # of a job with many films no copy stays


def test_times_count_from_the_first_picture(ledger: Ledger, tmp_path: Path) -> None:
    made = ingest(ledger, tmp_path, [7.5, 7.6, 7.9, 8.0], [0, 0, 1, 1])
    ((start_s, end_s), (then_s, last_s)) = takes_of_film(ledger, made, tmp_path)
    assert (start_s, last_s) == (0.0, np.inf)
    assert end_s == then_s == pytest.approx(0.4)


@pytest.mark.parametrize("frames", [1, 5])
def test_a_film_without_cuts_is_one_take(ledger: Ledger, tmp_path: Path, frames: int) -> None:
    made = ingest(ledger, tmp_path, [frame / 30 for frame in range(frames)], [0] * frames)
    assert takes_of_film(ledger, made, tmp_path) == [(0.0, np.inf)]


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=8), start_s=st.floats(-2, 100))
def test_every_frame_is_in_one_take(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], start_s: float
) -> None:
    folder = tmp_path_factory.mktemp("film")
    shots = np.repeat(np.arange(len(lengths)), lengths)
    pts_s = start_s + np.arange(len(shots)) * 1001 / 24000
    store = Ledger(open_store(str(folder / "store")))
    takes = takes_of_film(store, ingest(store, folder, pts_s.tolist(), shots.tolist()), folder)
    at_s = pts_s - pts_s[0]
    counts = [int(((at_s >= first) & (at_s < end)).sum()) for first, end in takes]
    assert counts == lengths


def plan_of(*shots: str) -> RenderPlan:
    """A plan of which only the order of the shots is known."""
    written = [
        {"mode": "film", "id": one, "film": "a.mp4", "performance": {"video": "b.mp4"}}
        for one in shots
    ]
    job = parse_job({"job": "j", "run": "r", "shots": written})
    return RenderPlan(job, *[None] * 3, [], {}, {})  # type: ignore[arg-type]


def item(name: str, shot: str) -> Item:
    return Item(id=name, inputs={}, places={"shot": shot})


def test_items_come_in_the_order_of_the_job() -> None:
    plan = plan_of("late", "early", "between")
    items = [item(name, name) for name in ("between", "early", "late")]
    assert [one.id for one in in_order(plan, items)] == ["late", "early", "between"]


@pytest.mark.parametrize("takes", [3, 12, 1200])
def test_takes_come_in_the_order_of_the_film(takes: int) -> None:
    plan = plan_of("reel", "after")
    of_reel = [item(f"reel-{number:03d}", "reel") for number in range(1, takes + 1)]
    mixed = [item("after", "after"), *reversed(of_reel)]
    assert in_order(plan, mixed) == [*of_reel, item("after", "after")]
