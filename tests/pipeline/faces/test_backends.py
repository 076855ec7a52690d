"""Networks by name: what they need, what decides their numbers, and whom they take for one."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_dataset import decode

from pipeline.faces.backends import (
    FROM_PYPI,
    KNOWING_FROM_PYPI,
    FaceNetworks,
    OpenNetworks,
    networks_identity,
    open_networks,
)
from pipeline.recipes import PREPROCESS
from preprocess.landmarks.backend import observe_all
from preprocess.media.picture import read_picture
from storage import assets

BY_ARCFACE = replace(FROM_PYPI, embedding="mobilefacenet_128")


@pytest.fixture(scope="module")
def networks() -> Iterator[OpenNetworks]:
    for name in KNOWING_FROM_PYPI.assets:
        try:
            assets.fetch(name)
        except assets.AssetError as error:
            pytest.skip(str(error))
    opened = open_networks(KNOWING_FROM_PYPI)
    yield opened
    opened.close()


def _embedding(networks: OpenNetworks, rgb: np.ndarray) -> np.ndarray:
    face = observe_all(rgb, networks.detectors[0], networks.landmarks)[0]
    assert networks.embedder is not None
    return networks.embedder.embed(rgb, face.points5_px)


def test_one_person_is_alike_and_another_is_not(
    networks: OpenNetworks, portrait_png: Path, short_man: Path
) -> None:
    """A mirrored portrait, brighter, and a film of somebody else."""
    portrait = read_picture(portrait_png)
    assert portrait is not None
    known = _embedding(networks, portrait)
    mirrored = np.clip(portrait[:, ::-1] * 0.8 + 30, 0, 255).astype(np.uint8)
    same_person = KNOWING_FROM_PYPI.likeness.same_person
    assert known @ _embedding(networks, np.ascontiguousarray(mirrored)) > same_person
    film = decode(short_man)
    man, later = _embedding(networks, film[0]), _embedding(networks, film[-1])
    assert man @ later > same_person
    assert known @ man < KNOWING_FROM_PYPI.likeness.same_face


def test_each_network_that_embeds_says_which_it_is() -> None:
    """And needs no weights for it."""
    embedders = [networks_identity(one)["embedding"] for one in (KNOWING_FROM_PYPI, BY_ARCFACE)]
    digests = [assets.weights_digest(name) for name in ("dlib_resnet", "mobilefacenet_128")]
    assert embedders == [
        {"embedder": "dlib_resnet", "version": "1", "weights_sha256": digests[0]},
        {"embedder": "arcface", "version": "1", "weights_sha256": digests[1]},
    ]
    assert networks_identity(FROM_PYPI)["embedding"] is None


def test_each_network_that_embeds_has_its_own_limits() -> None:
    """A stranger to dlib is nearly always nearer than one person's face to an ArcFace network."""
    dlib, arcface = KNOWING_FROM_PYPI.likeness, BY_ARCFACE.likeness
    assert arcface.same_face < arcface.same_person < dlib.same_face < dlib.same_person
    assert FaceNetworks(embedding="arcface_r50").likeness == arcface


@pytest.mark.parametrize("name", PREPROCESS)
def test_a_recipe_parts_persons_by_the_limits_of_its_network(name: str) -> None:
    landmarks = PREPROCESS[name]().landmarks
    likeness = landmarks.networks.likeness
    assert (landmarks.follow.min_likeness, landmarks.same_person) == (
        likeness.same_face,
        likeness.same_person,
    )


def test_all_that_the_demo_needs_comes_from_pypi() -> None:
    """The command makes a dub of films with a recipe that knows faces, and has no other source."""
    wanted = PREPROCESS["dubbing_demo"]().landmarks.networks
    assert wanted.assets == ["face_landmarker", "dlib_resnet"]
    for name in wanted.assets:
        assert any("PyPI" in str(source) for source in assets.REGISTRY[name].sources)


def test_weights_that_are_not_here_say_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("E3D_CACHE", str(tmp_path))
    monkeypatch.delenv("E3D_MODELS", raising=False)
    with pytest.raises(assets.AssetMissing, match="run: e3d assets fetch face_landmarker"):
        open_networks(KNOWING_FROM_PYPI)
