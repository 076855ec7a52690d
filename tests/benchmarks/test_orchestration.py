"""The benchmark of a job's orchestration: a small one, what it tells, never how fast it is."""

import json

import pytest

from benchmarks.orchestration.__main__ import main
from benchmarks.orchestration.job import Asked, first_and_last_quarter, steady_part


def test_a_small_job_and_the_same_again(tmp_path, capsys):
    out = tmp_path / "out" / "small.json"
    small = ["--store", "folder", "--shots", "8", "--workers", "2", "--seconds", "0.01"]
    main([*small, "--committed", "12", "--out", str(out)])
    told = json.loads(out.read_text())
    assert told["command"].startswith("python -m benchmarks.orchestration --store folder")
    assert {"processor", "cores", "ray", "load_average_at_begin"} <= told["machine"].keys()
    job, again = told["job"], told["resume"]
    assert job["bound_s"] == pytest.approx(2 * 0.01)  # four turns, less the first and the last
    assert job["whole_bound_s"] == pytest.approx(4 * 0.01)
    assert job["shot_inside_stage_s"] > 0.01
    assert job["orchestration_share"] == pytest.approx(1 - job["bound_s"] / job["steady_s"])
    assert job["driver_memory"]["largest_mib"] >= job["driver_memory"]["last_quarter_mib"] > 0
    assert job["delivery"]["seconds"] > 0
    assert job["driver_processor_s"] > 0
    assert again["items"] == 12
    assert all(again[name] > 0 for name in ("after_a_kill_s", "after_its_end_s"))
    assert all(again["processor_s"][name] > 0 for name in ("after_a_kill_s", "delivery_again_s"))
    shown = capsys.readouterr().out
    assert "orchestration" in shown
    assert "deliver what is delivered, 12 items" in shown


def test_the_steady_part_leaves_out_the_first_and_the_last_turn():
    ends_s = [9.0, 9.5, 11.0, 11.5, 13.2, 13.7, 15.4, 15.9, 40.0, 41.0]
    part = steady_part(ends_s, Asked(shots=10, workers=2, seconds=2.0))
    assert part["steady_s"] == pytest.approx(15.9 - 9.5)
    assert part["bound_s"] == 3 * 2.0
    assert part["orchestration_share"] == pytest.approx(0.4 / 6.4)


def test_a_driver_that_grows_is_seen():
    memory = first_and_last_quarter([100.0, 101.0, 150.0, 150.0, 150.0, 150.0, 190.0, 210.0])
    assert memory == {
        "first_quarter_mib": 100.5,
        "last_quarter_mib": 200.0,
        "largest_mib": 210.0,
    }


def test_a_job_without_a_steady_part_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--shots", "10", "--workers", "4"])
    assert "four times --workers" in capsys.readouterr().err
