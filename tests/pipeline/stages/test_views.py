"""Pictures of an untrained network on the small dataset."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.stage import StageSpec
from pipeline.stages.views import DEPTH, LEGEND, NOVEL, SCALED, SHIFTED, Views, ViewsConfig
from tests.pipeline.stages.judged import Judged, add_weights, contents, judge, run

CONFIG = ViewsConfig(
    same_person=0.48,
    multipliers=(-5, 1, 5),
    shifts_std=(0, 20),
    yaws_deg=(-20, 0),
    pitches_deg=(0, 10),
    cell_px=64,
)
HEAD_PX = 20
"""Height of the line with the columns' names."""


SPEC = StageSpec(Views, CONFIG)


@pytest.fixture(scope="module")
def judged(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """The small dataset under an untrained network. To be read."""
    return judge(small_store, tmp_path_factory.mktemp("judged"), SPEC)


@pytest.fixture
def files(judged: Judged) -> dict[str, bytes]:
    return judged.files


@pytest.fixture
def legend(files: dict[str, bytes]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files[LEGEND])
    return found


def cells(files: dict[str, bytes], legend: dict[str, Any], name: str) -> np.ndarray:
    """The images of a table, [rows, columns, 64, 64, 3]."""
    picture = cv2.imdecode(np.frombuffer(files[name], np.uint8), cv2.IMREAD_COLOR)
    rows, columns = (len(legend["pictures"][name][side]) for side in ("rows", "columns"))
    grid = picture[HEAD_PX:, -64 * columns :]
    assert grid.shape == (64 * rows, 64 * columns, 3)
    return grid.reshape(rows, 64, columns, 64, 3).swapaxes(1, 2)


def test_the_legend_says_what_each_picture_shows(legend: dict[str, Any], judged: Judged) -> None:
    assert legend["weights"] == judged.item.inputs["weights"]
    pictures = legend["pictures"]
    assert set(pictures) == {DEPTH, NOVEL, SCALED, SHIFTED}
    assert pictures[SCALED]["columns"] == ["x -5", "x 1", "x 5"]
    assert pictures[SHIFTED]["columns"] == ["+0 std", "+20 std"]
    assert pictures[SCALED]["rows"] == [f"lambda {number}" for number in range(1, 11)]
    assert pictures[NOVEL]["columns"] == ["yaw -20", "yaw 0"]
    assert pictures[NOVEL]["rows"] == ["1: pitch 0", "1: pitch 10", "2: pitch 0", "2: pitch 10"]
    assert pictures[DEPTH]["rows"] == ["1", "2"]


def test_sources_are_frontal_frames_of_different_persons(legend: dict[str, Any]) -> None:
    sources = legend["sources"]
    assert len({source["person"] for source in sources}) == len(sources) == 2
    assert np.abs(sources[0]["angles_deg"]).max() <= 10


def test_unedited_columns_show_the_unedited_image(
    files: dict[str, bytes], legend: dict[str, Any]
) -> None:
    scaled, shifted = (cells(files, legend, name) for name in (SCALED, SHIFTED))
    unedited = cells(files, legend, DEPTH)[0, 1]
    assert (scaled[:, 1] == unedited).all()
    assert (shifted[:, 0] == unedited).all()
    assert all((row[1] != unedited).any() for row in shifted)


def test_other_cameras_see_something_else(files: dict[str, bytes], legend: dict[str, Any]) -> None:
    novel = cells(files, legend, NOVEL)
    assert len({image.tobytes() for row in novel for image in row}) == novel.shape[0] * 2


def test_the_source_is_a_picture_of_the_dataset(
    files: dict[str, bytes], legend: dict[str, Any]
) -> None:
    man_or_woman = cells(files, legend, DEPTH)[:, 0]
    assert (man_or_woman.std(axis=(1, 2, 3)) > 20).all()


def test_another_machine_gives_the_same_bytes(
    judged: Judged, small_store: Path, tmp_path: Path
) -> None:
    assert judge(small_store, tmp_path, SPEC).files == judged.files


def test_without_a_basis_there_are_no_edits(own_store: Path, tmp_path: Path) -> None:
    item = add_weights(own_store, tmp_path / "weights", expression="direct")
    made = contents(own_store, run(own_store, SPEC, item).commits["views"])
    assert set(made) == {DEPTH, NOVEL, LEGEND}
