"""A linear face model learned from the persons of a dataset, with the numbers of its making.

Shapes: T frames, V = 478 mesh points.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import load
from pipeline.errors import ConfigurationError
from pipeline.faces.backends import FROM_PYPI, OpenNetworks, open_networks
from pipeline.faces.persons import cast_of, meshes_of
from pipeline.recipes import recipe_of_dataset
from preprocess.face3d.learn import is_filmed, learn, orthogonal_expressions
from preprocess.face3d.left_out import check_left_out
from preprocess.face3d.mesh478 import pack_mesh478
from preprocess.landmarks.backend import Rgb
from preprocess.media.picture import read_picture
from preprocess.people.follow import FollowConfig, Follower
from storage.ledger import Ledger

Array = NDArray[np.float64]

MIN_PERSONS = 8
"""Of films. With fewer, a fold of the check learns from five or less, and tells nothing."""


@dataclass(frozen=True, eq=False)
class BuiltFaceModel:
    """The bytes of a face model's file, its card, and where the persons are in doubt."""

    content: bytes
    card: dict[str, Any]
    doubts: tuple[str, ...]


def build_face_model(
    ledger: Ledger,
    dataset: str,
    portraits: Sequence[Path] = (),
    *,
    min_persons: int = MIN_PERSONS,
    report: Callable[[str], None] = lambda _: None,
) -> BuiltFaceModel:
    """Learn `mesh478` from the newest version of a dataset, and measure it on persons left out.

    Portraits are pictures of one further person each; they add to identity only. The same dataset
    and portraits give the same bytes. Raises ConfigurationError for fewer than `min_persons` filmed
    persons, a dataset without meshes, and a picture without a face.
    """
    version = load(ledger, dataset)
    made_by = recipe_of_dataset(version.kind.recipe)
    cast = cast_of(ledger, version, made_by.landmarks.same_person, report)
    pictured = _portrait_meshes(portraits, report)
    filmed = sum(sum(len(each.frames) for each in person) > 1 for person in cast.persons)
    if filmed < min_persons:
        raise ConfigurationError(
            f"dataset {dataset!r} shows {filmed} persons in {len(version.ok_films)} films; a face "
            f"model is learned from at least {min_persons}"
        )
    persons = [*meshes_of(ledger, cast, report), *([mesh_1V3] for mesh_1V3 in pictured)]
    frames = sum(len(clip) for person in persons for clip in person)
    report(f"learning from {frames} frames of {len(persons)} persons")
    model = learn(persons)
    report("measuring on persons left out")
    left_out = check_left_out(persons, model)
    card = {
        "dataset": version.key,
        "recipe": version.kind.recipe,
        "films": len(version.ok_films),
        "persons": len(persons),
        "persons_filmed": sum(map(is_filmed, persons)),
        "frames": frames,
        "orthogonal_expressions": orthogonal_expressions(model.face),
        "left_out": {name: _rounded(value) for name, value in asdict(left_out).items()},
    }
    return BuiltFaceModel(pack_mesh478(model, card), card, cast.doubts)


def _portrait_meshes(portraits: Sequence[Path], report: Callable[[str], None]) -> list[Array]:
    """Return a mesh [1,V,3] of the largest face of each picture."""
    if not portraits:
        return []
    networks = open_networks(FROM_PYPI)
    try:
        found = [_portrait_mesh(path, networks) for path in portraits]
    finally:
        networks.close()
    report(f"{len(found)} portraits")
    return found


def _portrait_mesh(path: Path, networks: OpenNetworks) -> Array:
    config = FollowConfig(max_faces=1)
    follower = Follower(networks.detectors, networks.landmarks, None, config)
    (tick,) = follower.follow([_picture(path)], [0])
    face = tick.sightings[0].face
    if tick.sightings[0].track is None or face is None or face.mesh_px is None:
        raise ConfigurationError(f"no face was found in the picture {path}")
    return face.mesh_px[None]


def _picture(path: Path) -> Rgb:
    try:
        rgb = read_picture(path)
    except OSError as error:
        raise ConfigurationError(f"the picture {path} cannot be read: {error.strerror}") from error
    if rgb is None:
        raise ConfigurationError(f"{path} is not a picture")
    return rgb


def _rounded(value: float) -> float:
    """Four digits: more would say what the sample cannot."""
    if isinstance(value, int) or not math.isfinite(value):
        return value
    return float(f"{value:.4g}")
