"""The face model bfm through the stages, with small files in the published formats."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_bfm import made_converted, made_network, save_checkpoint, write_converted

from model.geometry.bfm import WIDTHS
from pipeline.faces.backends import FaceNetworks
from pipeline.faces.models import FaceModelName, widths_of
from pipeline.recipes import PreprocessRecipe, preprocess_recipe
from preprocess.quality.scores import QualityConfig
from storage import assets
from storage.assets import AssetMissing
from storage.schemas import frames_schema
from storage.tables import matrix, read_table


@pytest.fixture
def users_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, landmarker_task: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    write_converted(folder, made_converted())
    save_checkpoint(folder / "epoch_20.pth", made_network())
    (folder / landmarker_task.name).symlink_to(landmarker_task)
    monkeypatch.setenv("E3D_MODELS", str(folder))
    return folder


def bfm_recipe() -> PreprocessRecipe:
    """The recipe `paper` with the demo's networks and spans, judging nothing: the fit is random."""
    demo, paper = preprocess_recipe("demo"), preprocess_recipe("paper")
    quality = QualityConfig(min_sharpness=0, max_yaw_rad=9, max_reprojection=9, max_occlusion=1)
    return replace(
        paper,
        landmarks=demo.landmarks,
        crop=replace(paper.crop, spans=demo.crop.spans),
        face3d=replace(paper.face3d, quality=quality),
    )


def test_frames_carry_the_257_coefficients_and_a_camera(
    bench: Any, short_man: Path, users_files: Path, tmp_path: Path
) -> None:
    recipe = bfm_recipe()
    (item,) = bench.run(recipe.stages(), short_man)
    assert item.ended is None
    commit = item.commits["face3d"]
    widths = widths_of(FaceModelName.BFM)
    table = read_table(
        bench.ledger.fetch(commit.output("frames.parquet"), tmp_path), frames_schema(widths)
    )
    sizes = {
        name: matrix(table, name).shape[1]
        for name in ("identity", "expression", "texture", "angles", "gamma", "translation")
    }
    assert sum(sizes.values()) == 257
    assert list(sizes.values()) == [80, 64, 80, 3, 27, 3]
    ok = np.asarray(table["outcome"]) == "ok"
    assert ok.sum() >= 25
    assert np.ptp(matrix(table, "texture")[ok], axis=0).max() == 0
    assert np.ptp(matrix(table, "gamma")[ok], axis=0).max() > 0
    camera = matrix(table, "camera")[ok]
    # eg3d_orig: fixed intrinsics, fixed distance (Spec 2.2.3).
    assert camera[:, 16] == pytest.approx(4.2647, abs=1e-4)
    assert np.linalg.norm(camera[:, [3, 7, 11]], axis=1) == pytest.approx(2.7, abs=1e-4)
    assert recipe.kind().widths == widths
    assert widths.face_model == WIDTHS.face_model


def test_other_files_are_another_dataset(users_files: Path) -> None:
    before = bfm_recipe().kind().face_model_sha256
    write_converted(users_files, made_converted(seed=1))
    assert bfm_recipe().kind().face_model_sha256 != before


def test_files_that_are_missing_are_named(users_files: Path) -> None:
    (users_files / "BFM_model_front.mat").unlink()
    with pytest.raises(AssetMissing, match="bfm09"):
        bfm_recipe().kind()


def test_it_goes_with_backends_that_have_no_mesh(
    bench: Any, short_man: Path, users_files: Path, tmp_path: Path
) -> None:
    """SCRFD's five points, in place of a mesh and 68 landmarks."""
    recipe = bfm_recipe()
    networks = FaceNetworks("insightface", ("scrfd",), None)
    try:
        weights = assets.fetch("scrfd_500m")
    except assets.AssetError as error:
        pytest.skip(str(error))
    (users_files / weights.name).symlink_to(weights)
    five = replace(recipe, landmarks=replace(recipe.landmarks, networks=networks))
    (item,) = bench.run(five.stages(), short_man)
    assert item.ended is None
    table = read_table(
        bench.ledger.fetch(item.commits["face3d"].output("frames.parquet"), tmp_path),
        frames_schema(widths_of(FaceModelName.BFM)),
    )
    ok = np.asarray(table["outcome"]) == "ok"
    assert ok.sum() >= 25
    assert table["landmarks"].null_count == len(table)
    assert np.abs(matrix(table, "expression")[ok]).max() > 0
