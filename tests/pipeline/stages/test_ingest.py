"""Ingest: every film becomes a mezzanine with a time for each tick, or a row that says why not."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from small_dataset import cut, decode, touched, write_film

from pipeline.stage import Ended, Outcome, StageSpec
from pipeline.stages.ingest import MEZZANINE, TICKS, Ingest, IngestConfig
from preprocess.media.clips import ClipReader
from storage.schemas import ticks_schema
from storage.tables import read_table

AT_25 = [StageSpec(Ingest, IngestConfig())]
EVERY_FRAME = [StageSpec(Ingest, IngestConfig(fps=None))]


def times_s(film: Path) -> list[float]:
    """Times of all pictures, by PyAV alone."""
    with av.open(str(film)) as container:
        stamps = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    return [float(stamp) for stamp in stamps]


def ended(items: list[Any]) -> list[tuple[str, str]]:
    assert all(isinstance(item.ended, Ended) for item in items)
    return [(str(item.ended.outcome), item.ended.reason) for item in items]


def test_ticks_are_25_a_second_and_show_the_nearest_frame(small: Any, short_man: Path) -> None:
    commit = small.commit("man.mp4", "ingest")
    ticks = read_table(small.output("man.mp4", "ingest", TICKS), ticks_schema()).to_pydict()
    mezzanine = ClipReader(small.output("man.mp4", "ingest", MEZZANINE))
    given = times_s(short_man)
    last_s = given[-1] + 1 / 30
    assert commit.info["frames_in"] == commit.counts["frames_in"] == len(given)
    assert commit.info["has_audio"] is True
    assert len(mezzanine) == len(ticks["pts_s"]) == commit.counts["frames_out"]
    assert len(mezzanine) == pytest.approx((last_s - given[0]) * 25, abs=1.01)
    assert ticks["frame_index"] == list(range(len(mezzanine)))
    assert set(ticks["pts_s"]) <= set(given)
    wanted = given[0] + np.arange(len(mezzanine)) / 25
    assert np.abs(np.array(ticks["pts_s"]) - wanted).max() <= 0.5 / 30 + 1e-6
    shown = decode(short_man)[given.index(ticks["pts_s"][20])]
    assert np.abs(mezzanine[20].astype(int) - shown).mean() < 2


def test_dubbing_keeps_every_frame_at_its_own_time(bench: Any, short_woman: Path) -> None:
    (item,) = bench.run(EVERY_FRAME, short_woman)
    ticks = bench.ledger.fetch(item.commits["ingest"].output(TICKS), bench.store)
    given = times_s(short_woman)
    assert read_table(ticks, ticks_schema())["pts_s"].to_pylist() == pytest.approx(given, abs=1e-9)
    assert item.commits["ingest"].info["fps"] == pytest.approx(float(Fraction(24000, 1001)))


def test_what_is_no_film_is_a_row_and_is_remembered(
    bench: Any, tmp_path: Path, short_man: Path
) -> None:
    text, empty, sound = (tmp_path / name for name in ("film.mp4", "empty.mp4", "sound.mp4"))
    text.write_text("This is no film.\n" * 100)
    empty.write_bytes(b"")
    with av.open(str(short_man)) as given, av.open(str(sound), "w") as out:
        track = out.add_stream_from_template(given.streams.audio[0])
        for packet in given.demux(audio=0):
            if packet.dts is not None:
                packet.stream = track
                out.mux(packet)
    items = bench.run(AT_25, text, empty, sound)
    assert ended(items) == [("failed", "not_media"), ("failed", "empty"), ("failed", "no_video")]
    assert all(item.ended.detail for item in items)
    assert len(bench.ledger.committed("ingest")) == 3
    attempts = bench.ledger.store.list("attempts")
    assert ended(bench.run(AT_25, text, empty, sound)) == ended(items)
    assert bench.ledger.store.list("attempts") == attempts


def test_a_film_that_vanishes_is_tried_again_when_it_is_back(
    bench: Any, tmp_path: Path, short_man: Path
) -> None:
    film = cut(short_man, tmp_path / "a.mp4", 0, 0.2)
    away = tmp_path / "away"
    items = bench.run(AT_25, film, between=lambda: film.rename(away))
    assert ended(items) == [("crashed", "vanished")]
    assert bench.ledger.committed("ingest") == set()
    away.rename(film)
    (item,) = bench.run(AT_25, film)
    assert item.ended is None


def test_a_film_that_is_still_being_written_is_not_taken_for_what_it_was(
    bench: Any, tmp_path: Path, short_man: Path
) -> None:
    film = cut(short_man, tmp_path / "a.mp4", 0, 0.2)
    items = bench.run(AT_25, film, between=lambda: touched(film, film))
    assert ended(items) == [("crashed", "unreadable")]
    assert "still being written" in items[0].ended.detail
    assert bench.ledger.committed("ingest") == set()
    (item,) = bench.run(AT_25, film)
    assert item.ended is None


def test_one_frame_and_odd_sizes_are_films(bench: Any, tmp_path: Path) -> None:
    still = write_film([np.full((90, 122, 3), 99, np.uint8)], tmp_path / "still.mp4")
    (item,) = bench.run(AT_25, still)
    commit = item.commits["ingest"]
    assert (commit.outcome, commit.info["frames_in"]) == (Outcome.OK, 1)
    assert commit.info["frames_out"] == 1
