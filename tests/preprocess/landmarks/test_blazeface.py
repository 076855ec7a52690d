import numpy as np
import pytest

from preprocess.boxes import box_iou
from preprocess.landmarks.blazeface import decode_faces


def _quiet():
    return np.zeros((896, 16), np.float32), np.full(896, -20, np.float32)


def test_an_anchor_speaks_relative_to_its_cell():
    regressors, logits = _quiet()
    # Second anchor of row 3, column 5 of the 16 x 16 grid: its cell's centre is (44, 28) px.
    anchor = 2 * (3 * 16 + 5) + 1
    logits[anchor] = 3
    regressors[anchor, :8] = [4, 2, 20, 30, -6, -3, 6, -3]
    faces = decode_faces(regressors, logits, min_score=0.5)
    np.testing.assert_allclose(faces.boxes_N4 * 128, [[38, 15, 58, 45]])
    np.testing.assert_allclose(faces.eyes_N22 * 128, [[[38, 25], [50, 25]]])
    np.testing.assert_allclose(faces.scores_N, [1 / (1 + np.exp(-3))])


def test_the_coarse_grid_has_six_anchors_a_cell():
    regressors, logits = _quiet()
    logits[512 + 6 * (2 * 8 + 7)] = 5
    faces = decode_faces(regressors, logits, min_score=0.5)
    np.testing.assert_allclose(faces.boxes_N4[0, :2] * 128, [7.5 * 16, 2.5 * 16])


def test_boxes_on_one_face_are_merged_by_weight_and_others_kept():
    regressors, logits = _quiet()
    regressors[:, 2:4] = 40
    a, b = 2 * (8 * 16 + 8), 2 * (8 * 16 + 9)  # neighbours, 8 px apart
    far = 2 * (1 * 16 + 1)
    logits[[a, b, far]] = [2, 1, 0.5]
    faces = decode_faces(regressors, logits, min_score=0.5)
    assert len(faces.scores_N) == 2
    weights = 1 / (1 + np.exp(-np.array([2.0, 1.0])))
    x = np.average([8.5 * 8, 9.5 * 8], weights=weights)
    np.testing.assert_allclose(faces.boxes_N4[0, [0, 2]] * 128, [x - 20, x + 20])
    np.testing.assert_allclose(faces.scores_N[0], weights[0])


def test_no_face_is_no_error():
    faces = decode_faces(*_quiet(), min_score=0.5)
    assert faces.boxes_N4.shape == (0, 4)
    assert faces.eyes_N22.shape == (0, 2, 2)


@pytest.mark.parametrize(
    ("other", "iou"),
    [([0, 0, 2, 2], 1), ([2, 2, 3, 3], 0), ([1, 0, 3, 2], 1 / 3), ([0, 0, 1, 1], 0.25)],
)
def test_iou(other, iou):
    box = np.array([0.0, 0, 2, 2])
    assert box_iou(box, np.array([other], float))[0] == pytest.approx(iou)
    assert float(box_iou(box, np.array(other, float))) == pytest.approx(iou)
