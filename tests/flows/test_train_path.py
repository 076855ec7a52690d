"""A dataset in, a trained run out: what is kept and reused, and that a kill changes nothing."""

import json
import random
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from safetensors.numpy import load as load_safetensors
from small_dataset import NAME

from flows.server import PrefectServer
from flows.train import train_network
from pipeline.recipes import train_recipe
from pipeline.training.runs import find_run, load_network, newest_weights
from storage.identity import digest_file
from storage.ledger import Commit, Ledger
from storage.store import open_store
from tests.flows.cancelling import cancelled
from tests.flows.command import LIMIT_S, Ended, e3d, start
from tests.flows.conftest import RUN, THREADS, TRAIN_RECIPE, TrainedRun
from tests.flows.report_page import pictures_of

SEED = 20261
STAGES = ("clebs", "export3d")


@pytest.fixture(autouse=True)
def _server(prefect_api: PrefectServer) -> None:
    pass


def ledger_of(store: Path) -> Ledger:
    return Ledger(open_store(str(store)))


def commits(store: Path) -> dict[str, Commit]:
    """The commits of the newest run RUN, by stage."""
    ledger = ledger_of(store)
    found = {stage: ledger.find(stage, key) for stage, key in find_run(ledger, RUN).keys.items()}
    return {stage: commit for stage, commit in found.items() if commit is not None}


def positions(store: Path, stage: str) -> list[int]:
    """Steps of all checkpoints of a stage, in the order in which they were published."""
    ledger = ledger_of(store)
    key = find_run(ledger, RUN).keys[stage]
    folder = f"refs/checkpoints/{key}"
    refs = [json.loads(ledger.store.get(path)) for path in ledger.store.list(folder)]
    return [sum(ref["position"]["steps"]) for ref in refs]


def outputs(store: Path) -> dict[tuple[str, str], str]:
    """Digests of all that training has made."""
    return {
        (stage, output.name): output.sha256
        for stage, commit in commits(store).items()
        for output in commit.outputs
    }


def test_the_summary_tells_what_was_trained(trained: TrainedRun) -> None:
    result = trained.result
    assert (result["run"], result["recipe"], result["dataset"]) == (RUN, TRAIN_RECIPE, NAME)
    assert (result["outcome"], result["reason"], result["computed"]) == ("ok", "", 2)
    metrics = result["metrics"]
    assert {"clebs/loss", "export3d/l2", "export3d/adversarial", "export3d/sample_psnr"} <= set(
        metrics
    )
    assert np.isfinite(list(metrics.values())).all()


def test_weights_are_committed_as_safetensors_with_a_card(
    trained: TrainedRun, tmp_path: Path
) -> None:
    ledger, found = ledger_of(trained.store), commits(trained.store)
    assert found.keys() == set(STAGES)
    assert found["export3d"].parents == (found["clebs"].key,)
    kept = found["export3d"].output("weights.safetensors")
    weights = load_safetensors(ledger.store.get(kept.key))
    assert sum(array.size for array in weights.values()) > 400_000
    assert all(np.isfinite(array).all() for array in weights.values())
    card = json.loads(ledger.store.get(found["export3d"].output("card.json").key))
    assert (card["ended"], card["position"]["steps"]) == ("steps", [18, 2])
    newest = newest_weights(ledger, find_run(ledger, RUN))
    assert newest == found["export3d"]
    assert not load_network(ledger, newest, tmp_path).training


def test_metrics_and_samples_are_kept(trained: TrainedRun) -> None:
    ledger = ledger_of(trained.store)
    for stage, commit in commits(trained.store).items():
        text = ledger.store.get(commit.output("metrics.jsonl").key).decode()
        rows = [json.loads(line) for line in text.splitlines()]
        steps = [row["step"] for row in rows if row["name"] in {"loss", "total"}]
        assert steps == ([2, 4, 6] if stage == "clebs" else list(range(2, 21, 2)))
    names = [output.name for output in commits(trained.store)["export3d"].outputs]
    samples = [name for name in names if name.endswith(".png")]
    assert samples == ["samples-0000010.png", "samples-0000020.png"]
    for name in samples:
        data = ledger.store.get(commits(trained.store)["export3d"].output(name).key)
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (2 * 64, 5 * 64, 3)
        assert picture.std() > 10
    assert positions(trained.store, "clebs") == [5, 6]
    assert positions(trained.store, "export3d") == [5, 10, 15, 20]


def test_the_report_shows_curves_and_samples(trained: TrainedRun) -> None:
    page = ledger_of(trained.store).store.get(f"reports/runs/{RUN}.html").decode()
    pictures = pictures_of(page)
    assert [kind for kind, _ in pictures].count("image/png") == 2
    assert [kind for kind, _ in pictures].count("image/svg+xml") >= 5


def test_tensorboard_finds_a_file_for_each_stage(trained: TrainedRun) -> None:
    store = ledger_of(trained.store).store
    events = store.list(f"reports/runs/{RUN}/tensorboard")
    assert len(events) == len(STAGES)
    assert all("tfevents" in name and len(store.get(name)) > 200 for name in events)


def test_a_second_run_computes_nothing(
    trained: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connected(_address: str | None) -> Any:
        raise AssertionError("Ray was started")

    monkeypatch.setattr("pipeline.runners.embedded.connected", connected)
    store = Path(shutil.copytree(trained.store, tmp_path / "store"))
    again = train_network(str(store), NAME, TRAIN_RECIPE, RUN)
    assert again == trained.result | {"computed": 0}
    assert ledger_of(store).history("runs", RUN) == [1]
    assert outputs(store) == outputs(trained.store)


def test_more_steps_are_another_run_under_the_same_name(
    trained: TrainedRun, tmp_path: Path
) -> None:
    store = Path(shutil.copytree(trained.store, tmp_path / "store"))
    short = train_network(str(store), NAME, TRAIN_RECIPE, RUN, steps=1, ray_address="none")
    assert (short["outcome"], short["computed"]) == ("ok", 1)
    assert short["keys"]["clebs"] == trained.result["keys"]["clebs"]
    assert short["keys"]["export3d"] != trained.result["keys"]["export3d"]
    assert ledger_of(store).history("runs", RUN) == [1, 2]


def test_a_run_begins_with_the_weights_of_another(trained: TrainedRun, tmp_path: Path) -> None:
    store = Path(shutil.copytree(trained.store, tmp_path / "store"))
    given = {"steps": 1, "ray_address": "none", "start": RUN}
    result = train_network(str(store), NAME, TRAIN_RECIPE, "further", **given)
    assert (result["outcome"], result["computed"]) == ("ok", 1)
    assert result["keys"].keys() == {"export3d"}, "the encoder comes with the weights"
    ledger = ledger_of(store)
    before, after = (
        load_network(ledger, newest_weights(ledger, find_run(ledger, run)), made(tmp_path / run))
        for run in (RUN, "further")
    )
    assert find_run(ledger, "further").start == RUN
    rate = train_recipe(TRAIN_RECIPE).export3d.training.learning_rate
    changes = [
        (old - new).abs().max().item()
        for old, new in zip(before.parameters(), after.parameters(), strict=True)
    ]
    # The first step of Adam moves no number by more than its rate.
    assert 0.9 * rate < max(changes) < 1.01 * rate


def test_a_killed_run_goes_on_to_the_same_weights(
    trained: TrainedRun, own_store: Path, tmp_path: Path
) -> None:
    words = ["train", "--store", own_store, "--dataset", NAME, "--recipe", TRAIN_RECIPE]
    words += ["--run", RUN]
    chance = random.Random(SEED)
    for stage, count in (("clebs", 1), ("export3d", 2)):

        def is_time(stage: str = stage, count: int = count) -> bool:
            return len(checkpoints(own_store, stage)) >= count

        kill([*words, "--ray", "none"], is_time, chance.uniform(0, 0.1))
        assert "export3d" not in commits(own_store), "the command was quicker than the test"
    reached = positions(own_store, "export3d")
    assert 5 <= reached[-1] < 20

    ended = e3d(*words, "--json")
    assert ended.code == 0, ended.err
    assert ended.result["metrics"] == trained.result["metrics"]
    assert positions(own_store, "export3d") == [5, 10, 15, 20]  # it did not begin anew
    assert positions(own_store, "clebs") == [5, 6]
    assert outputs(own_store) == outputs(trained.store)
    weights = commits(own_store)["export3d"].output("weights.safetensors")
    assert digest_file(ledger_of(own_store).fetch(weights, tmp_path)) == weights.sha256


def test_a_training_cancelled_in_the_ui_leaves_a_checkpoint_and_goes_on_from_it(
    own_store: Path, e3d_here: Callable[..., Ended]
) -> None:
    words = ["train", "--store", own_store, "--dataset", NAME, "--recipe", TRAIN_RECIPE]
    words += ["--run", RUN, "--steps", "2000", "--ray", "none"]
    reached = [0]
    for _ in range(2):

        def got_on(before: int = reached[-1]) -> bool:
            return checkpoints(own_store, "export3d")[-1:] > [before]

        with cancelled(f"train {RUN}", got_on):
            ended = e3d_here(*words)
        assert ended.code == 130
        assert f"run {RUN} was cancelled; what was done is kept" in ended.err
        reached += checkpoints(own_store, "export3d")[-1:]
    assert 5 <= reached[1] < reached[2] < 2000
    assert "export3d" not in commits(own_store)


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def checkpoints(store: Path, stage: str) -> list[int]:
    if RUN not in ledger_of(store).names("runs"):
        return []
    return positions(store, stage)


def kill(words: list[object], is_time: Callable[[], bool], delay_s: float) -> None:
    """Start the command, and kill it `delay_s` after `is_time`."""
    command = start(*words, OMP_NUM_THREADS=str(THREADS))
    try:
        deadline = time.monotonic() + LIMIT_S
        while not is_time():
            assert command.poll() is None, command.communicate()[1]
            assert time.monotonic() < deadline, "the command does not get on"
            time.sleep(0.01)
        time.sleep(delay_s)
    finally:
        command.kill()
        command.communicate(timeout=LIMIT_S)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset": "absent"}, f"there is no dataset 'absent' in .*; there is: {NAME}"),
        ({"dataset": "No Such Name"}, "dataset 'No Such Name' must be"),
        ({"recipe": "nonsense"}, "recipe is 'nonsense'; allowed is .*export3d_test"),
        ({"run": "No Such Name"}, "run 'No Such Name' must be"),
        ({"from": "absent"}, "there is no run 'absent' in .*; there is: none yet"),
        ({"from": RUN}, f"run '{RUN}' cannot begin with its own weights"),
    ],
)
def test_a_mistake_is_one_sentence(
    own_store: Path, changes: dict[str, str], said: str, e3d_here: Callable[..., Ended]
) -> None:
    given = {"dataset": NAME, "recipe": TRAIN_RECIPE, "run": RUN} | changes
    options = [word for name, value in given.items() for word in (f"--{name}", value)]
    ended = e3d_here("train", "--store", own_store, "--ray", "none", *options)
    assert ended.code == 2
    assert re.match(said, ended.sentence)
    assert ended.out == ""
    assert ledger_of(own_store).names("runs") == []


def test_a_dataset_that_is_too_small_fails_in_one_sentence(
    own_store: Path, e3d_here: Callable[..., Ended]
) -> None:
    words = ["train", "--store", own_store, "--dataset", NAME, "--recipe", "export3d_256"]
    ended = e3d_here(*words, "--run", RUN, "--ray", "none")
    assert ended.code == 3
    assert ended.out.startswith(f"run {RUN}: failed, too_little_data: no clip has 33 usable frames")
    assert ".py" not in ended.out
    told = e3d_here("status", RUN, "--store", own_store, "--json").result["runs"]["stages"]
    assert told == {stage: {"complete": False, "checkpoint": None} for stage in STAGES}
