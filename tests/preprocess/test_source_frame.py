"""The choice of the source frame: frontal, whole, sharp, eyes open, mouth shut; best or drawn."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.crop import Align, CropBoxes, crop_affines, crop_boxes
from preprocess.source_frame import (
    SourceFrame,
    SourceFrameConfig,
    find_source_frame,
    padding_of_crops,
)

BEST = SourceFrameConfig()
RANDOM = SourceFrameConfig(choice="random")
EYES = 60.0
"""Distance between the eyes of the drawn faces, in px."""


def _faces(mouth_T: np.ndarray, lids_T: np.ndarray) -> np.ndarray:
    """Landmarks of faces whose lips and lids are so far apart, in distances between the eyes."""
    faces = np.zeros((len(mouth_T), 68, 2))
    # Six points of an eye: its corners, and two pairs of points on the lids.
    eye = np.array([[-12, 0], [-4, -1], [4, -1], [12, 0], [4, 1], [-4, 1]], float)
    half_px = lids_T[:, None] * EYES / 2
    for first, middle in ((36, 100.0), (42, 100 + EYES)):
        faces[:, first : first + 6] = [middle, 80]
        faces[:, first : first + 6, 0] += eye[:, 0]
        faces[:, first : first + 6, 1] += half_px * eye[:, 1]
    faces[:, [62, 66]] = [130, 140]
    faces[:, 66, 1] += mouth_T * EYES
    return faces


def _find(
    count: int,
    config: SourceFrameConfig = BEST,
    seed: int = 0,
    *,
    angles: np.ndarray | None = None,
    sharpness: np.ndarray | None = None,
    mouth: np.ndarray | None = None,
    lids: np.ndarray | None = None,
    padding: np.ndarray | None = None,
) -> SourceFrame:
    """Find the source among frames that are all alike but for what is given."""
    return find_source_frame(
        np.zeros((count, 3)) if angles is None else angles,
        np.full(count, 90.0) if sharpness is None else sharpness,
        config,
        seed,
        landmarks_TK2=_faces(
            np.zeros(count) if mouth is None else mouth,
            np.full(count, 0.1) if lids is None else lids,
        ),
        padding_T=padding,
    )


def test_only_sharp_frontal_frames_are_drawn() -> None:
    angles_T3 = np.zeros((8, 3))
    angles_T3[[0, 3], 1] = 0.4
    sharpness_T = np.array([9.0, 1, 2, 9, 7, 6, 3, 8])
    drawn = {find_source_frame(angles_T3, sharpness_T, RANDOM, seed).index for seed in range(200)}
    assert drawn == {4, 5, 7}
    assert find_source_frame(angles_T3, sharpness_T, BEST, 3).index == 7


def test_the_same_seed_draws_the_same_frame() -> None:
    angles_T3, sharpness_T = np.zeros((50, 3)), np.arange(50.0)
    first = find_source_frame(angles_T3, sharpness_T, RANDOM, 7).index
    assert first == find_source_frame(angles_T3, sharpness_T, RANDOM, 7).index


@pytest.mark.parametrize("config", [BEST, RANDOM])
def test_without_a_frontal_frame_the_most_frontal_one_is_taken(config: SourceFrameConfig) -> None:
    angles_T3 = np.array([[0.5, 0, 0], [0, -0.3, 0.1], [0, 0, 0.9]])
    assert find_source_frame(angles_T3, np.array([9.0, 1, 9]), config, 0).index == 1
    found = _find(3, config, angles=angles_T3)
    assert (found.index, found.given_up) == (1, ("frontal",))
    assert found.angles_deg == pytest.approx(tuple(np.rad2deg(angles_T3[1])))


def test_no_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="no frame"):
        find_source_frame(np.zeros((0, 3)), np.zeros(0), BEST, 0)


def test_a_blink_an_open_mouth_and_a_cut_off_face_are_passed_over() -> None:
    # The frame with a fault is the most frontal one by far.
    angles_T3 = np.full((9, 3), 0.1)
    angles_T3[4] = 0
    fine, odd = np.zeros(9), np.arange(9) == 4
    assert _find(9, angles=angles_T3).index == 4
    assert _find(9, angles=angles_T3, lids=np.where(odd, 0.02, 0.1)).index != 4
    assert _find(9, angles=angles_T3, mouth=np.where(odd, 0.3, fine)).index != 4
    assert _find(9, angles=angles_T3, padding=np.where(odd, 0.2, fine)).index != 4
    assert _find(9, angles=angles_T3, padding=fine).index == 4


@pytest.mark.parametrize("lids", [0.05, 0.2])
def test_open_eyes_are_those_of_the_person(lids: float) -> None:
    # One person's wide open eyes are another's half shut ones.
    lids_T = np.array([0.3, 1.0, 1.02, 0.98, 0.99, 1.01, 0.5]) * lids
    drawn = {_find(7, RANDOM, seed, lids=lids_T).index for seed in range(100)}
    assert drawn <= {1, 2, 3, 4, 5}
    assert _find(7, lids=lids_T).eyes == pytest.approx(1, abs=0.011)


def test_what_no_frame_has_is_given_up_and_the_rest_still_asked_for() -> None:
    lids_T = np.array([0.1, 0.1, 0.1, 0.02, 0.02])
    mouth_T = np.array([0.4, 0.2, 0.3, 0.0, 0.0])
    found = _find(5, lids=lids_T, mouth=mouth_T)
    assert (found.index, found.given_up) == (1, ("mouth shut",))
    padded = _find(5, padding=np.array([0.2, 0.1, 0.3, 0.3, 0.3]))
    assert (padded.index, padded.given_up) == (1, ("whole",))


def test_it_says_why() -> None:
    found = _find(
        4,
        angles=np.deg2rad([[5.0, 9, -3], [1, 2, -3], [40, 0, 0], [9, 9, 9]]),
        sharpness=np.array([80.0, 95, 99, 70]),
        mouth=np.array([0.02, 0.01, 0, 0.3]),
        padding=np.array([0, 0.004, 0, 0]),
    )
    assert (found.index, found.candidates, found.given_up) == (1, 1, ())
    assert found.angles_deg == pytest.approx((1, 2, -3))
    assert (found.sharpness, found.padding) == (95, 0.004)
    assert (found.eyes, found.mouth) == (pytest.approx(1), pytest.approx(0.01))
    bare = find_source_frame(np.zeros((1, 3)), np.ones(1), BEST, 0)
    assert (bare.eyes, bare.mouth, bare.padding) == (None, None, None)


def test_frames_without_landmarks_come_last() -> None:
    faces = _faces(np.array([0.04, 0.0]), np.full(2, 0.1))
    faces[1] = 0
    found = find_source_frame(np.zeros((2, 3)), np.array([5.0, 9]), BEST, 0, landmarks_TK2=faces)
    assert found.index == 0
    none = find_source_frame(np.zeros((2, 3)), np.array([5.0, 9]), BEST, 0, landmarks_TK2=0 * faces)
    assert (none.index, none.given_up, none.eyes) == (1, (), None)


def test_what_is_not_known_counts_as_at_the_limit() -> None:
    # Frames with open eyes and shut mouths leave the film; of the two that are left one has
    # half-shut eyes and lips a little too far apart, of the other nothing is known.
    faces = _faces(np.array([0, 0.06, 0, 0, 0]), np.array([0.1, 0.05, 0.1, 0.1, 0.1]))
    faces[0] = 0
    found = find_source_frame(
        np.zeros((5, 3)), np.ones(5), BEST, 0,
        landmarks_TK2=faces, padding_T=np.array([0, 0, 0.5, 0.5, 0.5]),
    )  # fmt: skip
    assert (found.index, found.given_up) == (1, ("eyes open", "mouth shut"))


_frames = st.lists(
    st.tuples(
        st.floats(-0.5, 0.5), st.floats(20, 200), st.floats(0, 0.5), st.floats(0.01, 0.2),
        st.floats(0, 1),
    ),
    min_size=1, max_size=12,
)  # fmt: skip


@given(_frames, st.sampled_from([BEST, RANDOM]), st.integers(0, 99))
def test_there_is_always_a_source_and_it_keeps_what_it_says(
    frames: list[tuple[float, ...]], config: SourceFrameConfig, seed: int
) -> None:
    yaw, sharpness, mouth, lids, padding = np.array(frames).T
    angles_T3 = np.stack([0 * yaw, yaw, 0 * yaw], axis=1)
    found = _find(
        len(frames), config, seed, angles=angles_T3, sharpness=sharpness, mouth=mouth, lids=lids,
        padding=padding,
    )  # fmt: skip
    i, limits = found.index, config
    assert 0 <= i < len(frames)
    assert 1 <= found.candidates <= len(frames)
    assert (np.abs(yaw[i]) <= limits.max_angle_rad) == ("frontal" not in found.given_up)
    if "frontal" in found.given_up:
        assert np.abs(yaw[i]) == np.abs(yaw).min()
        return
    usual = np.median(lids[np.abs(yaw) <= limits.max_angle_rad])
    kept = {
        "whole": padding[i] <= limits.max_padding,
        "eyes open": lids[i] >= (limits.min_eyes - 1e-6) * usual,
        "mouth shut": mouth[i] <= limits.max_mouth + 1e-6,
    }
    assert all(name in found.given_up or met for name, met in kept.items())


@given(_frames, st.randoms())
def test_neither_unit_nor_order_of_the_frames_decides(
    frames: list[tuple[float, ...]], random: object
) -> None:
    yaw, sharpness, mouth, lids, padding = np.array(frames).T
    angles_T3 = np.stack([0 * yaw, yaw, 0 * yaw], axis=1)
    faces = _faces(mouth, lids)
    order = np.arange(len(frames))
    random.shuffle(order)  # type: ignore[attr-defined]
    found = find_source_frame(angles_T3, sharpness, BEST, 0, landmarks_TK2=faces, padding_T=padding)
    moved = find_source_frame(
        angles_T3[order], sharpness[order], BEST, 0,
        landmarks_TK2=faces[order] * 4 + 1000, padding_T=padding[order],
    )  # fmt: skip
    assert (moved.candidates, moved.given_up) == (found.candidates, found.given_up)
    if len(set(sharpness)) == len(set(np.abs(yaw).round(6))) == len(frames):  # no two are alike
        assert order[moved.index] == found.index


def test_padding_of_a_crop_is_what_leaves_the_film() -> None:
    boxes = CropBoxes(
        centre_T2=np.array([[100.0, 100], [0, 100], [0, 0], [320, 90], [900, 0]]),
        side_T=np.full(5, 80.0),
    )
    affines = crop_affines(boxes, 256)
    np.testing.assert_allclose(
        padding_of_crops(affines, 256, 320, 180), [0, 0.5, 0.75, 0.5, 1], atol=1e-12
    )
    large = crop_boxes(np.array([[160.0, 90]]), np.array([400 * 3 / 7]), Align.PER_FRAME)
    whole = padding_of_crops(crop_affines(large, 64), 64, 320, 180)
    np.testing.assert_allclose(whole, 1 - 320 * 180 / 400**2, atol=1e-12)


@pytest.mark.parametrize(
    ("field", "value"),
    [("choice", "worst"), ("max_angle_rad", 0.0), ("min_eyes", float("nan")), ("sharpest_part", 2)],
)
def test_wrong_settings_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        replace(BEST, **{field: value})
