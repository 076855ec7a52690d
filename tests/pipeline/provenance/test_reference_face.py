"""The face of a picture, as films know faces."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import ConfigurationError
from pipeline.faces.backends import FROM_PYPI, FaceNetworks
from pipeline.provenance.reference_face import reference_face
from pipeline.stages.landmarks import LandmarksConfig
from preprocess.media.decode import decode_film
from preprocess.media.picture import read_picture
from storage import assets

Rgb = np.ndarray
NETWORKS = FaceNetworks()


@pytest.fixture(scope="module", autouse=True)
def _networks(landmarker_task: Path) -> None:
    for name in ("yunet", "mobilefacenet_128"):
        try:
            assets.fetch(name)
        except assets.AssetError as error:
            pytest.skip(f"asset {name} cannot be had here: {error}")


@pytest.fixture(scope="module")
def portrait(portrait_png: Path) -> Rgb:
    rgb = read_picture(portrait_png)
    assert rgb is not None
    return rgb


def written(rgb: Rgb, path: Path) -> Path:
    assert cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return path


def test_one_person_is_known_again_and_another_is_not(
    portrait: Rgb, portrait_png: Path, face_film: Path, tmp_path: Path
) -> None:
    same_person = LandmarksConfig().same_person
    known = reference_face(portrait_png, NETWORKS)
    smaller = cv2.resize(portrait, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    mirrored = np.ascontiguousarray(smaller[:, ::-1])
    assert (
        known.likeness(reference_face(written(mirrored, tmp_path / "a.png"), NETWORKS))
        > same_person
    )
    man = reference_face(face_film, NETWORKS)
    assert known.likeness(man) < same_person
    first = next(decode_film(face_film)).rgb
    assert man.likeness(reference_face(written(first, tmp_path / "b.png"), NETWORKS)) > 0.999
    assert known.network["embedder"] == "arcface"
    assert len(known.network["weights_sha256"]) == 64


def test_a_reference_shows_one_person_alone(portrait: Rgb, tmp_path: Path) -> None:
    two = written(np.hstack([portrait, portrait[:, ::-1]]), tmp_path / "two.png")
    with pytest.raises(ConfigurationError, match="shows 2 faces; it must show one alone"):
        reference_face(two, NETWORKS)


def test_what_shows_nobody_is_refused(tmp_path: Path) -> None:
    grey = written(np.full((256, 256, 3), 127, np.uint8), tmp_path / "grey.png")
    with pytest.raises(ConfigurationError, match="no face was found"):
        reference_face(grey, NETWORKS)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ConfigurationError, match="is neither a picture nor a film"):
        reference_face(tmp_path / "text.png", NETWORKS)
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        reference_face(tmp_path / "absent.png", NETWORKS)


def test_networks_that_know_no_persons_are_refused(portrait_png: Path) -> None:
    with pytest.raises(ConfigurationError, match="know no persons"):
        reference_face(portrait_png, FROM_PYPI)
