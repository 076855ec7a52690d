"""Codes of expressions judged on the small dataset: two persons of one clip each."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from model.evaluation.expressions import linear_probe
from pipeline import dataset as datasets
from pipeline.faces.cast import cast_faces
from pipeline.stage import StageSpec
from pipeline.stages.expressions import (
    BETA,
    ENCODED,
    LESS_PERSON,
    NUMBERS,
    TSNE,
    UNTRAINED,
    Expressions,
    ExpressionsConfig,
)
from preprocess.landmarks.openings import face_openings
from tests.pipeline.stages.judged import Judged, add_weights, contents, judge, ledger_of, run

CONFIG = ExpressionsConfig(0.48, neighbours=3, apart_s=0.2)


SPEC = StageSpec(Expressions, CONFIG)


@pytest.fixture(scope="module")
def judged(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """The small dataset under an untrained network. To be read."""
    return judge(small_store, tmp_path_factory.mktemp("judged"), SPEC)


@pytest.fixture
def files(judged: Judged) -> dict[str, bytes]:
    return judged.files


@pytest.fixture
def numbers(files: dict[str, bytes]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files[NUMBERS])
    return found


def test_every_number_is_there_for_every_code(numbers: dict[str, Any], judged: Judged) -> None:
    assert numbers["weights"] == judged.item.inputs["weights"]
    assert numbers["dataset"] == judged.item.inputs["dataset"]
    assert len(numbers["persons"]) == 2
    assert numbers["frames"] == sum(own["frames"] for own in numbers["persons"].values())
    assert set(numbers["codes"]) == {BETA, ENCODED, UNTRAINED, LESS_PERSON}
    for code in numbers["codes"].values():
        assert set(code["probes"]) == {"mouth_opening", "pitch", "yaw", "roll"}
        assert 0.3 < code["identity"]["chance"] < 0.5
        assert code["identity_other_clips"] is None  # nobody has a second clip
        assert -1 <= code["silhouette"] <= 1
    assert numbers["codes"][BETA]["identity"]["accuracy"] > 0.9
    less = numbers["codes"][LESS_PERSON]
    assert less["identity"]["accuracy"] < numbers["codes"][BETA]["identity"]["accuracy"] - 0.1
    for probe, score in less["probes"].items():  # these are about means anyway
        assert score["r"] == pytest.approx(numbers["codes"][BETA]["probes"][probe]["r"])
    assert len({json.dumps(code) for code in numbers["codes"].values()}) == 4


def test_the_mouth_is_that_of_the_landmarks(judged: Judged, numbers: dict[str, Any]) -> None:
    ledger = ledger_of(judged.store)
    dataset = datasets.load_key(ledger, str(judged.item.inputs["dataset"]))
    persons, _ = cast_faces(ledger, dataset, 9, 0.48, lambda _done, _total: None)
    rows = [person.rows for person in persons]
    score = linear_probe(
        np.concatenate([own.expression_NE for own in rows]).astype(float),
        np.concatenate([face_openings(own.landmarks_NK2)[0] for own in rows]),
        np.repeat([0, 1], [len(own) for own in rows]),
        np.concatenate([own.clip_id_N for own in rows]),
    )
    told = numbers["codes"][BETA]["probes"]["mouth_opening"]
    assert told["r"] == pytest.approx(score.r)
    assert told["explained"] == pytest.approx(score.explained)


def test_the_picture_shows_both_codes(files: dict[str, bytes], numbers: dict[str, Any]) -> None:
    picture = cv2.imdecode(np.frombuffer(files[TSNE], np.uint8), cv2.IMREAD_COLOR)
    height, width, _ = picture.shape
    assert width > 1.5 * height
    assert picture[:, : width // 2].std() > 3
    assert picture[:, width // 2 :].std() > 3
    assert list(numbers["tsne"].values()) == [10, 10]


def test_another_machine_gives_the_same_bytes(
    judged: Judged, small_store: Path, tmp_path: Path
) -> None:
    assert judge(small_store, tmp_path, SPEC).files == judged.files


def test_weights_of_a_checkpoint_are_found(own_store: Path, tmp_path: Path) -> None:
    item = add_weights(own_store, tmp_path / "weights", stage="checkpoint")
    assert run(own_store, SPEC, item).ended is None


def test_an_encoder_without_a_basis_is_judged_as_well(own_store: Path, tmp_path: Path) -> None:
    item = add_weights(own_store, tmp_path / "weights", expression="direct")
    done = run(own_store, SPEC, item)
    numbers = json.loads(contents(own_store, done.commits["expressions"])[NUMBERS])
    assert numbers["encoder"] == "direct"


def test_too_few_persons_are_a_result(own_store: Path, tmp_path: Path) -> None:
    item = add_weights(own_store, tmp_path / "weights")
    done = run(own_store, StageSpec(Expressions, ExpressionsConfig(0.48, least_frames=1000)), item)
    assert done.ended is not None
    assert (done.ended.outcome, done.ended.reason) == ("failed", "too_few_persons")
    assert "0 persons have 1000 frames" in done.ended.detail
