"""The choice of the source frame: frontal, sharp, the same for the same seed."""

import numpy as np
import pytest

from preprocess.source_frame import SourceFrameConfig, choose_source_frame

CONFIG = SourceFrameConfig()


def test_only_sharp_frontal_frames_are_drawn() -> None:
    angles_T3 = np.zeros((8, 3))
    angles_T3[[0, 3], 1] = 0.4
    sharpness_T = np.array([9.0, 1, 2, 9, 7, 6, 3, 8])
    drawn = {choose_source_frame(angles_T3, sharpness_T, CONFIG, seed) for seed in range(200)}
    assert drawn == {4, 5, 7}


def test_the_same_seed_draws_the_same_frame() -> None:
    angles_T3, sharpness_T = np.zeros((50, 3)), np.arange(50.0)
    first = choose_source_frame(angles_T3, sharpness_T, CONFIG, 7)
    assert first == choose_source_frame(angles_T3, sharpness_T, CONFIG, 7)


def test_without_a_frontal_frame_the_most_frontal_one_is_taken() -> None:
    angles_T3 = np.array([[0.5, 0, 0], [0, -0.3, 0.1], [0, 0, 0.9]])
    assert choose_source_frame(angles_T3, np.array([9.0, 1, 9]), CONFIG, 0) == 1


def test_no_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="no frame"):
        choose_source_frame(np.zeros((0, 3)), np.zeros(0), CONFIG, 0)
