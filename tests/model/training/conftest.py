"""Synthetic clips: a head that turns with the label and opens its mouth with the expression."""

import cv2
import numpy as np
import pytest

from model.geometry.camera import label_eg3d_orig
from model.training.data import ArrayFrames, Clip

SKINS = {"one": (230, 180, 150), "two": (150, 170, 220)}


def _head(side: int, angles: np.ndarray, mouth: float, skin: tuple[int, int, int]) -> np.ndarray:
    _, yaw, roll = angles
    big = 4 * side
    picture = np.full((big, big, 3), (40, 60, 80), np.uint8)
    middle = big // 2
    cv2.ellipse(picture, (middle, middle), (big // 5, big * 2 // 5), 0, 0, 360, skin, -1)
    turn = int(np.sin(yaw) * big / 4)
    for eye in (-1, 1):
        centre = (middle + turn + eye * big // 10, middle - big // 7)
        cv2.circle(picture, centre, big // 22, (20, 20, 30), -1)
    height = int(big * (0.01 + 0.16 * mouth))
    place = (middle + turn, middle + big // 8)
    cv2.ellipse(picture, place, (big // 7, height), 0, 0, 360, (90, 10, 20), -1)
    about = cv2.getRotationMatrix2D((middle, middle), float(np.rad2deg(roll)), 1.0)
    turned = cv2.warpAffine(picture, about, (big, big), borderMode=cv2.BORDER_REPLICATE)
    return cv2.resize(turned, (side, side), interpolation=cv2.INTER_AREA)


def synthetic_clip(name: str, n_frames: int, side: int, phase: float) -> Clip:
    time = np.arange(n_frames)
    mouth = 0.5 + 0.5 * np.sin(time / 2.3 + 2 * phase)
    yaw, roll = 0.3 * np.sin(time / 5 + phase), 0.6 * np.sin(time / 3.1 + phase)
    angles = np.stack([0 * yaw, yaw, roll], axis=1)
    expression = 0.01 * np.random.default_rng(n_frames).normal(size=(n_frames, 64))
    expression[:, 0] += 2 * mouth - 1
    frames = [_head(side, a, m, SKINS[name]) for a, m in zip(angles, mouth, strict=True)]
    return Clip(
        clip_id=name,
        person=name,
        frames=ArrayFrames(np.stack(frames)),
        expression_TE=expression.astype(np.float32),
        camera_T25=label_eg3d_orig(angles, np.zeros_like(angles)).astype(np.float32),
        usable_T=np.ones(n_frames, bool),
    )


@pytest.fixture(scope="session")
def clips() -> list[Clip]:
    return [synthetic_clip("one", 40, 64, 1.0), synthetic_clip("two", 30, 64, 2.0)]
