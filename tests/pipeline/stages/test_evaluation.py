"""The evaluation stage on the small dataset, with a network that was never trained."""

import dataclasses
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from small_dataset import NAME
from untrained_run import publish_untrained, publish_version

from model.evaluation.metrics import METRICS
from pipeline import dataset as datasets
from pipeline import recipes
from pipeline.errors import ConfigurationError
from pipeline.evaluation.job import EvaluationPlan, plan_evaluation, publish_evaluation
from pipeline.reports.evaluation import evaluation_report
from pipeline.runners.local import LocalRunner
from pipeline.stage import Item
from storage.ledger import Ledger
from storage.schemas import evaluation_schema
from storage.store import open_store
from storage.tables import read_table

RUN = "born"
FRAMES = 4


@pytest.fixture
def ledger(own_store: Path, tmp_path: Path) -> Ledger:
    """A store with the small dataset and a run on it."""
    ledger = Ledger(open_store(str(own_store)))
    publish_untrained(ledger, NAME, RUN, tmp_path / "weights")
    return ledger


def measured(ledger: Ledger, plan: EvaluationPlan) -> Item:
    """Run the evaluation alone, without the stages that show the network."""
    spec, item = plan.stages[0]
    (done,) = LocalRunner().run(
        [spec], [item], store_url=ledger.store.url, run_id="by-hand", on_event=lambda _event: None
    )
    return done


def rows_of(ledger: Ledger, item: Item, folder: Path) -> list[dict[str, Any]]:
    commit = item.commits["evaluation"]
    folder.mkdir()
    path = ledger.fetch(commit.output("frames.parquet"), folder)
    return list(read_table(path, evaluation_schema()).to_pylist())


def told(ledger: Ledger, item: Item, name: str) -> Any:
    return json.loads(ledger.store.get(item.commits["evaluation"].output(name).key))


@pytest.fixture(scope="module")
def judged(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ledger, Item]:
    """The run, judged once. To be read."""
    store = shutil.copytree(small_store, tmp_path_factory.mktemp("judged") / "store")
    ledger = Ledger(open_store(str(store)))
    publish_untrained(ledger, NAME, RUN, store / "weights")
    return ledger, measured(ledger, plan_evaluation(ledger, RUN, frames=FRAMES))


def test_every_driving_frame_has_a_row_in_both_protocols(
    judged: tuple[Ledger, Item], tmp_path: Path
) -> None:
    ledger, item = judged
    rows = rows_of(ledger, item, tmp_path / "out")
    assert Counter(row["protocol"] for row in rows) == {"same": 2 * FRAMES, "cross": 2 * FRAMES}
    pairs = told(ledger, item, "pairs.json")
    assert [
        (pair["protocol"], pair["source_clip"], pair["driving_clip"], frame)
        for pair in pairs
        for frame in pair["driving_frames"]
    ] == [
        (row["protocol"], row["source_clip"], row["driving_clip"], row["driving_frame"])
        for row in rows
    ]
    for row in rows:
        same = row["protocol"] == "same"
        assert (row["source_clip"] == row["driving_clip"]) is same
        assert not same or row["source_frame"] != row["driving_frame"]
        assert row["seen"] == "trained on"  # the tiny recipe holds nothing out
        assert (row["psnr"] is not None) is same
        assert np.isfinite(row["copy_aed"])  # the film's faces are found
        assert row["csim"] is None  # the demo recipe has no network for identity
        assert row["lpips"] is None


def test_what_an_untrained_network_shows_is_no_face_and_counts_as_failed(
    judged: tuple[Ledger, Item],
) -> None:
    ledger, item = judged
    summary = told(ledger, item, "summary.json")
    assert item.commits["evaluation"].counts == {"frames": 4 * FRAMES, "failed": 4 * FRAMES}
    assert (summary["clips"], summary["persons"], summary["clips_without_pair"]) == (2, 2, 0)
    for protocol in ("same", "cross"):
        found = summary[protocol]
        assert found["reasons"] == {"no_face in generated": 2 * FRAMES}
        assert found["metrics"]["aed"]["generated"] == {
            "mean": None, "measured": 0, "failed": 2 * FRAMES,
        }  # fmt: skip
        assert found["metrics"]["aed"]["copy"]["measured"] == 2 * FRAMES
        assert [clip["frames"] for clip in found["by_clip"]] == [FRAMES, FRAMES]
        png = ledger.store.get(item.commits["evaluation"].output(f"{protocol}.png").key)
        picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape[1] > 3 * 192
    psnr = summary["same"]["metrics"]["psnr"]
    assert psnr["generated"]["measured"] == 2 * FRAMES
    assert psnr["generated"]["mean"] < psnr["copy"]["mean"]
    assert psnr["better_share"] == 0


def test_only_frames_held_out_drive_and_sources_are_frames_trained_on(
    ledger: Ledger, tmp_path: Path
) -> None:
    publish_untrained(ledger, NAME, "shy", tmp_path / "shy", tail_share=0.25)
    item = measured(ledger, plan_evaluation(ledger, "shy", frames=100))
    clip_frames = 37  # 1.5 s at 25 fps, less the last one of the film
    for row in rows_of(ledger, item, tmp_path / "out"):
        assert row["seen"] == "held out"
        assert row["driving_frame"] >= clip_frames - round(0.25 * clip_frames) - 1
        assert row["source_frame"] < 0.75 * clip_frames - 2


def test_a_film_that_the_run_does_not_know_is_judged_on_all_frames(
    ledger: Ledger, tmp_path: Path
) -> None:
    whole = datasets.load(ledger, NAME)
    publish_version(ledger, "man", whole, ["man.mp4"])
    publish_untrained(ledger, "man", "shy", tmp_path / "shy", tail_share=0.25)
    item = measured(ledger, plan_evaluation(ledger, "shy", NAME, frames=100))
    rows = [row for row in rows_of(ledger, item, tmp_path / "out") if row["protocol"] == "same"]
    by_seen = Counter(row["seen"] for row in rows)
    assert by_seen.keys() == {"held out", "new film"}
    assert by_seen["held out"] < 12 < 30 < by_seen["new film"]
    (woman,) = [film.source_id for film in whole.films if film.name == "woman.mp4"]
    assert {row["person"].split("/")[0] for row in rows if row["seen"] == "new film"} == {woman}


def test_films_that_the_weights_began_with_are_not_new(ledger: Ledger, tmp_path: Path) -> None:
    whole = datasets.load(ledger, NAME)
    publish_version(ledger, "man", whole, ["man.mp4"])
    publish_version(ledger, "woman", whole, ["woman.mp4"])
    first, second, third = "first", "second", "third"
    publish_untrained(ledger, "man", first, tmp_path / first)
    publish_untrained(ledger, "woman", second, tmp_path / second, start=first)
    publish_untrained(ledger, "woman", third, tmp_path / third, start=second)
    item = measured(ledger, plan_evaluation(ledger, third, NAME, frames=FRAMES))
    rows = rows_of(ledger, item, tmp_path / "out")
    assert {row["seen"] for row in rows} == {"trained on"}
    assert len({row["person"] for row in rows}) == 2


def test_metrics_that_the_run_was_trained_against_are_named(
    ledger: Ledger, judged: tuple[Ledger, Item], tmp_path: Path
) -> None:
    assert told(*judged, "summary.json")["trained_against"] == []
    read = {"weights": {"expression": 0.3}}
    publish_untrained(ledger, NAME, "reader", tmp_path / "reader", tail_share=0.3, training=read)
    plan = plan_evaluation(ledger, "reader", frames=1)
    item = measured(ledger, plan)
    assert told(ledger, item, "summary.json")["trained_against"] == ["akd", "akd_sum", "aed"]
    page = evaluation_report(ledger, plan, {"evaluation": item}).markdown()
    said = "network behind AKD, px, AKD (sum), px, AED was also in a loss of the training"
    assert said in " ".join(page.split())


def test_one_person_alone_has_no_cross_identity(ledger: Ledger, tmp_path: Path) -> None:
    publish_version(ledger, "man", datasets.load(ledger, NAME), ["man.mp4"])
    item = measured(ledger, plan_evaluation(ledger, RUN, "man", frames=FRAMES))
    summary = told(ledger, item, "summary.json")
    assert "cross" not in summary
    assert summary["same"]["frames"] == FRAMES


def test_the_same_inputs_give_the_same_bytes(judged: tuple[Ledger, Item], ledger: Ledger) -> None:
    again = measured(ledger, plan_evaluation(ledger, RUN, frames=FRAMES)).commits["evaluation"]
    once = judged[1].commits["evaluation"]
    assert (again.key, again.outputs) == (once.key, once.outputs)


def test_another_network_is_judged_on_the_same_pairs(
    judged: tuple[Ledger, Item], ledger: Ledger, tmp_path: Path
) -> None:
    version = datasets.load(ledger, NAME)
    publish_version(ledger, "other", version, ["man.mp4", "woman.mp4"])
    publish_untrained(ledger, "other", "twin", tmp_path / "twin", seed=1)
    twin = measured(ledger, plan_evaluation(ledger, "twin", NAME, frames=FRAMES))
    found = [item.commits["evaluation"] for item in (judged[1], twin)]
    assert found[0].key != found[1].key
    frames, pairs = (
        [commit.output(name).sha256 for commit in found]
        for name in ("frames.parquet", "pairs.json")
    )
    assert frames[0] != frames[1]
    assert pairs[0] == pairs[1]


def test_a_run_can_be_judged_on_the_very_pairs_of_another(ledger: Ledger, tmp_path: Path) -> None:
    plan = plan_evaluation(ledger, RUN, frames=12)
    first = measured(ledger, plan)
    with pytest.raises(ConfigurationError, match="'born' has not been evaluated on this version"):
        plan_evaluation(ledger, RUN, like=RUN)
    publish_evaluation(ledger, plan, first.commits["evaluation"])
    publish_untrained(ledger, NAME, "shy", tmp_path / "shy", tail_share=0.25)
    other = measured(ledger, plan_evaluation(ledger, "shy", frames=1, like=RUN))
    assert told(ledger, other, "pairs.json") == told(ledger, first, "pairs.json")
    seen = {row["seen"] for row in rows_of(ledger, other, tmp_path / "out")}
    assert seen == {"trained on", "held out"}  # judged by what the run itself has seen


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ({"camera_mode": "eg3d_orig"}, "cameras eg3d_orig .* trained on cameras exact"),
        ({"face_model_sha256": "f" * 64}, "files of the face model ffffffffffff"),
    ],
)
def test_a_dataset_of_another_kind_is_refused_in_one_sentence(
    ledger: Ledger, kind: dict[str, str], said: str
) -> None:
    version = datasets.load(ledger, NAME)
    films = [film.name for film in version.films]
    foreign = publish_version(ledger, "foreign", version, films, **kind)
    with pytest.raises(ConfigurationError, match=f"the dataset is of another kind.*{said}"):
        plan_evaluation(ledger, RUN, "foreign")
    plan = plan_evaluation(ledger, RUN)
    spec, item = plan.stages[0]
    inputs = {**item.inputs, "dataset": foreign.key}
    slipped = dataclasses.replace(
        plan, stages=((spec, dataclasses.replace(item, inputs=inputs)), *plan.stages[1:])
    )
    ended = measured(ledger, slipped).ended
    assert ended is not None
    assert (ended.outcome, ended.reason) == ("failed", "other_kind")


def test_a_run_without_weights_is_refused_in_one_sentence(ledger: Ledger) -> None:
    from pipeline.training.job import begin_training

    version = datasets.load(ledger, NAME)
    recipe = recipes.train_recipe("export3d_test").with_steps(3)
    begin_training(ledger, "new", recipe, NAME, version)
    with pytest.raises(ConfigurationError, match="run 'new' has no checkpoint yet"):
        plan_evaluation(ledger, "new")


def test_the_table_has_a_column_for_each_metric() -> None:
    names = {metric.name for metric in METRICS}
    best_copied = {metric.name for metric in METRICS if metric.copying_is_best}
    columns = {
        name for name in evaluation_schema().names if evaluation_schema().field(name).nullable
    }
    assert columns == names | {f"copy_{n}" for n in names} | {f"driver_{n}" for n in best_copied}
