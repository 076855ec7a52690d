"""How far mouth and eyes are open, whatever the face's size and turn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.landmarks.openings import face_openings


@given(
    mouth=st.floats(0, 80), eyes=st.floats(0, 20), zoom=st.floats(0.1, 10), turn=st.floats(-3, 3)
)
def test_openings_are_the_same_at_every_size_and_turn(
    mouth: float, eyes: float, zoom: float, turn: float
) -> None:
    points = np.zeros((68, 2))
    for first, x in ((36, -50.0), (42, 50.0)):
        points[first : first + 6] = [
            [x - 10, 0],
            *([x + step, -eyes / 2] for step in (-4, 4)),
            [x + 10, 0],
            *([x + step, eyes / 2] for step in (4, -4)),
        ]
    points[62], points[66] = (0, 70), (0, 70 + mouth)
    matrix = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    mouth_T, eyes_T = face_openings((points @ matrix.T + 300)[None])
    assert (mouth_T[0], eyes_T[0]) == pytest.approx((mouth / 100, eyes / 100), abs=1e-6)


def test_landmarks_without_extent_tell_nothing() -> None:
    assert np.isnan(face_openings(np.zeros((1, 68, 2)))).all()
