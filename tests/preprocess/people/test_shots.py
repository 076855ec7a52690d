"""Cuts between pictures, and none where a picture only moves, fades or flickers."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from preprocess.media.decode import decode_film
from preprocess.people.shots import ShotConfig, ShotCounter

RNG = np.random.default_rng(7)


def _scene(height: int = 180, width: int = 320) -> np.ndarray:
    """A picture of large coloured patches."""
    coarse = RNG.integers(0, 256, (6, 10, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _shots(frames: Iterable[np.ndarray], **config: float) -> list[int]:
    counter = ShotCounter(ShotConfig(**config))
    for frame in frames:
        counter.see(frame)
    return counter.shots()


def _moving(scene: np.ndarray, frames: int) -> list[np.ndarray]:
    return [np.roll(scene, 3 * t, axis=1) for t in range(frames)]


def test_each_cut_begins_a_shot() -> None:
    scenes = [_scene() for _ in range(4)]
    lengths = [12, 30, 8, 20]
    frames = [f for scene, n in zip(scenes, lengths, strict=True) for f in _moving(scene, n)]
    assert _shots(frames) == [shot for shot, n in enumerate(lengths) for _ in range(n)]


@pytest.mark.parametrize("size", [(18, 32), (1080, 1920), (1920, 1080), (2, 4000)])
def test_any_size_will_do(size: tuple[int, int]) -> None:
    frames = [f for scene in (_scene(*size), _scene(*size)) for f in [scene] * 8]
    assert _shots(frames) == [0] * 8 + [1] * 8


def test_movement_fades_and_noise_are_no_cuts() -> None:
    scene = _scene()
    fade = [(scene * (1 - t / 40)).astype(np.uint8) for t in range(40)]
    noisy = [
        np.clip(scene + RNG.normal(0, 12, scene.shape), 0, 255).astype(np.uint8) for _ in range(20)
    ]
    assert set(_shots(_moving(scene, 40))) == {0}
    assert set(_shots(fade)) == {0}
    assert set(_shots(noisy)) == {0}


@pytest.mark.parametrize("frames", [0, 1, 2, 3])
def test_the_shortest_films_are_one_shot(frames: int) -> None:
    assert _shots([_scene()] * frames) == [0] * frames


def test_a_real_film_of_one_shot_has_no_cut_and_two_films_have_one(
    face_film: Path, pexels_film: Path
) -> None:
    first, second = ([f.rgb for f, _ in zip(decode_film(film), range(60), strict=False)]
                     for film in (face_film, pexels_film))  # fmt: skip
    assert _shots([*first, *second]) == [0] * 60 + [1] * 60


@pytest.mark.parametrize("field", ["ratio", "min_change"])
def test_config_says_which_field_is_wrong(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        ShotConfig(**{field: 0})
