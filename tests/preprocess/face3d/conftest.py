"""Made-up clips of the shipped face model, seen as the mesh network would see them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from model.geometry.camera import project_film, rotation
from preprocess.crop import Alignment
from preprocess.face3d.mesh478 import Coefficients, Mesh478, read_mesh478


@dataclass(frozen=True)
class MadeClip:
    """Meshes [T,478,3] in film px, the alignment they were made under, and the truth."""

    meshes_TV3: np.ndarray
    alignment: Alignment
    truth: Coefficients


def _make_clip(
    model: Mesh478, seed: int, frames: int, spread: float = 1.0, nod_rad: float = 0.0
) -> MadeClip:
    """Draw a person and frames of them from the model's own statistics.

    nod_rad is how far the head nods with one unit of the first expression, which opens the mouth.
    """
    rng = np.random.default_rng(seed)
    face = model.face
    identity = rng.normal(size=len(face.identity_IV3))
    expression = spread * rng.normal(size=(frames, len(face.expression_EV3)))
    angles = rng.uniform(-0.35, 0.35, (frames, 3))
    angles[:, 0] += nod_rad * expression[:, 0]
    translation = rng.normal(0, [0.02, 0.02, 0.2], (frames, 3))
    alignment = Alignment(rng.normal([320, 180], 2, (frames, 2)), rng.normal(70, 1, frames))
    shapes = model.shape(identity, expression, angles)
    flat = project_film(shapes, angles, translation, alignment.origin_T2, alignment.scale_T)
    depth = (shapes @ np.swapaxes(rotation(angles), -1, -2) + translation[:, None])[..., 2]
    middle = depth.mean(axis=1, keepdims=True)
    px_per_dm = 1015 / 102 * alignment.scale_T[:, None] / (10 - middle)
    meshes = np.concatenate([flat, ((middle - depth) * px_per_dm)[..., None]], axis=-1)
    nothing = np.zeros(frames)
    return MadeClip(
        meshes, alignment, Coefficients(identity, expression, angles, translation, nothing, nothing)
    )


@pytest.fixture(scope="session")
def model() -> Mesh478:
    return read_mesh478()


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., MadeClip]:
    return _make_clip
