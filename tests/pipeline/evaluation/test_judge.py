"""What a pair is worth where the answer is known: a network that gives back source or film."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.evaluation.metrics import METRICS
from model.evaluation.protocol import ProtocolConfig, cross_identity_pairs, same_identity_pairs
from model.evaluation.reenactment import EQUAL_IMAGES_DB
from model.training.holdout import Holdout
from pipeline import dataset as datasets
from pipeline.evaluation.clips import JudgedClip, clips_to_judge
from pipeline.evaluation.judge import PairJudge
from pipeline.faces.measured import FaceMeter
from pipeline.faces.models import FaceModelName
from pipeline.recipes import preprocess_recipe
from storage.ledger import Ledger
from storage.schemas import evaluation_schema
from storage.store import open_store

SIDE_PX = 128
CONFIG = ProtocolConfig(frames_per_clip=4, stretch_frames=4)


class Copier:
    """An animator that gives back what it was given."""

    image_px = SIDE_PX

    def portrait(self, image: np.ndarray) -> "Copier":
        self.source = image
        return self

    def animate(self, exp_TE: np.ndarray, camera_T25: np.ndarray) -> Iterator[np.ndarray]:
        return iter([self.source] * len(exp_TE))


class Projector(Copier):
    """An animator that shows the film's own frames, which it knows by their cameras."""

    def __init__(self, judged: Sequence[JudgedClip]) -> None:
        from model.training.data import FrameBank

        self.bank = FrameBank([one.clip for one in judged], SIDE_PX, 2**28)
        self.cameras = [one.clip.camera_T25 for one in judged]

    def animate(self, exp_TE: np.ndarray, camera_T25: np.ndarray) -> Iterator[np.ndarray]:
        for camera_25 in camera_T25:
            for index, own_T25 in enumerate(self.cameras):
                for frame in np.flatnonzero((own_T25 == camera_25).all(axis=1)):
                    yield self.bank.images(index, [int(frame)])[0]


class Blackout(Copier):
    """An animator that shows nothing."""

    def animate(self, exp_TE: np.ndarray, camera_T25: np.ndarray) -> Iterator[np.ndarray]:
        return iter(np.zeros((len(exp_TE), SIDE_PX, SIDE_PX, 3), np.uint8))


@pytest.fixture(scope="module")
def judged(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> list[JudgedClip]:
    ledger = Ledger(open_store(str(small_store)))
    version = datasets.load(ledger, "small")
    folder = tmp_path_factory.mktemp("clips")
    return clips_to_judge(ledger, version, [version], Holdout(), folder)


@pytest.fixture(scope="module")
def meter(landmarker_task: Path) -> Iterator[FaceMeter]:
    networks = preprocess_recipe("demo").landmarks.networks
    meter = FaceMeter(networks, FaceModelName.MESH478, 0.5)
    yield meter
    meter.close()


def rows_by_protocol(
    judged: Sequence[JudgedClip], meter: FaceMeter, animator: Any
) -> dict[str, list[Any]]:
    same = same_identity_pairs([one.frames for one in judged], CONFIG)
    person_of = {one.clip.clip_id: one.clip.person for one in judged}
    cross = cross_identity_pairs(same, person_of, CONFIG)
    judge = PairJudge(judged, person_of, animator, meter, None)
    rows = {
        name: [row for pair in pairs for row in judge.rows(pair)]
        for name, pairs in (("same", same), ("cross", cross))
    }
    assert [len(rows["same"]), len(rows["cross"])] == [8, 8]
    names = {name for own in rows.values() for row in own for name in row}
    assert names <= set(evaluation_schema().names)
    return rows


def test_a_network_that_copies_scores_as_the_copied_source(
    judged: list[JudgedClip], meter: FaceMeter
) -> None:
    for name, rows in rows_by_protocol(judged, meter, Copier()).items():
        for row in rows:
            assert row["reason"] == ""
            for metric in METRICS:
                if row.get(metric.name) is not None:
                    copied = row[f"copy_{metric.name}"]
                    assert row[metric.name] == pytest.approx(copied, abs=1e-6), (name, metric.name)
        assert {row["source_clip"] == row["driving_clip"] for row in rows} == {name == "same"}
        assert min(row["copy_aed"] for row in rows) > 0.05


def test_a_network_that_shows_the_film_is_perfect(
    judged: list[JudgedClip], meter: FaceMeter
) -> None:
    rows = rows_by_protocol(judged, meter, Projector(judged))
    for row in [*rows["same"], *rows["cross"]]:
        for name in ("aed", "apd3", "apd6"):
            assert row[name] == 0
        assert row["jitter"] == row["driver_jitter"]
    for row in rows["same"]:
        assert (row["akd"], row["l1"], row["psnr"]) == (0, 0, EQUAL_IMAGES_DB)
        assert row["flicker"] == row["driver_flicker"]
        assert 0 < row["copy_akd"] == row["copy_akd_sum"] / 2
    assert all("psnr" not in row and "akd" not in row for row in rows["cross"])


def test_pictures_without_a_face_are_rows_with_a_reason(
    judged: list[JudgedClip], meter: FaceMeter
) -> None:
    rows = rows_by_protocol(judged, meter, Blackout())
    for row in [*rows["same"], *rows["cross"]]:
        assert row["reason"] == "no_face in generated"
        assert np.isnan([row["aed"], row["apd3"], row["apd6"]]).all()
        assert np.isfinite([row["copy_aed"], row["copy_apd6"]]).all()
    assert all(np.isnan(row["akd"]) and np.isfinite(row["psnr"]) for row in rows["same"])


def test_key_points_are_in_px_of_256_whatever_the_network(
    judged: list[JudgedClip], meter: FaceMeter
) -> None:
    from model.training.data import FrameBank

    points = []
    for side_px in (SIDE_PX, 256):
        images = FrameBank([one.clip for one in judged], side_px, 2**28).images(0, [3])
        points.append(meter.measured(images, meter.look(images)).points_TK2)
    assert np.abs(points[0] - points[1]).mean() < 2
    assert 100 < points[1].mean() < 156
