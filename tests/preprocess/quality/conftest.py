"""A painted face that moves and is lit as wanted, and a photographed one where there is one."""

from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from preprocess.crop import transform, warp
from preprocess.face3d.mesh478 import read_mesh478
from preprocess.quality.occlusion import face_map

SIZE_PX = 256


@dataclass(frozen=True)
class Film:
    """Crops [T,256,256,3] and the mesh [T,478,3] of each, px of the crop."""

    crops: np.ndarray
    meshes: np.ndarray


def move(picture, mesh, frames, seed=0):
    """A film of a still face: turns in the picture, jitter, other light in every frame."""
    rng = np.random.default_rng(seed)
    crops, meshes = [], []
    for t in range(frames):
        turn, zoom = 0.15 * np.sin(t / 5), 1 + 0.05 * np.cos(t / 7)
        affine = np.eye(3)
        affine[:2, :2] = zoom * np.array(
            [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        )
        middle = np.full(2, SIZE_PX / 2)
        affine[:2, 2] = middle - affine[:2, :2] @ middle + rng.normal(0, 2, 2)
        crop = warp(picture, affine, SIZE_PX, SIZE_PX).astype(float)
        light = (1 + 0.3 * np.sin(t / 4)) * np.linspace(0.8, 1.2, SIZE_PX)[None, :, None]
        crops.append(np.clip(crop * light + rng.normal(0, 2, crop.shape), 0, 255))
        moved = mesh * zoom
        moved[:, :2] = transform(affine, mesh[:, :2])
        meshes.append(moved)
    return Film(np.array(crops).astype(np.uint8), np.array(meshes))


@pytest.fixture(scope="session")
def mean_mesh():
    return read_mesh478().face.mean_V3


@pytest.fixture(scope="session")
def texels(mean_mesh):
    return face_map(mean_mesh)


@pytest.fixture(scope="session")
def mesh(mean_mesh):
    """The mean face in px, 90 to the decimetre, y down, z away from the viewer."""
    return mean_mesh * [90, -90, -90] + [SIZE_PX / 2, SIZE_PX / 2, 0]


@pytest.fixture(scope="session")
def painting(mesh):
    """Skin with blotches, brows, eyes and a mouth."""
    rng = np.random.default_rng(1)
    blotches = cv2.GaussianBlur(rng.normal(0, 1, (SIZE_PX, SIZE_PX, 1)), (0, 0), 9)[..., None]
    picture = np.array([200.0, 150, 125]) * (1 + 0.05 * blotches / blotches.std())
    for vertices, colour in (
        ((70, 63, 105, 66, 107), (90, 60, 50)),
        ((300, 293, 334, 296, 336), (90, 60, 50)),
        ((33, 160, 158, 133, 153, 144), (60, 50, 50)),
        ((362, 385, 387, 263, 373, 380), (60, 50, 50)),
        ((61, 37, 0, 267, 291, 17), (170, 80, 80)),
    ):
        points = np.round(mesh[list(vertices), :2]).astype(np.int32)
        cv2.fillPoly(picture, [points], colour)
    return np.clip(cv2.GaussianBlur(picture, (0, 0), 1), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def film(painting, mesh):
    return move(painting, mesh, 60)
