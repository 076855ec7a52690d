"""Outside weights that a developer may have."""

import os
from pathlib import Path

import cv2
import pytest

_BESIDE_THE_REPOSITORY = Path(__file__).parents[3] / "shared" / "assets"


@pytest.fixture(scope="session")
def asset_file():
    """Call it with a file's name: its path in a mirror folder of this machine, or a skipped test.

    Nothing is fetched.
    """

    def find(name: str) -> Path:
        mirror = os.environ.get("E3D_ASSET_MIRROR", "")
        for folder in (
            (Path(mirror), _BESIDE_THE_REPOSITORY) if mirror else (_BESIDE_THE_REPOSITORY,)
        ):
            if (folder / name).is_file():
                return folder / name
        pytest.skip(f"no mirror folder of assets on this machine has {name}")

    return find


@pytest.fixture(scope="session")
def astronaut(portrait_png):
    """RGB [512,512,3]; her face is at about (190..260, 65..160) px."""
    return cv2.imread(str(portrait_png))[..., ::-1].copy()
