import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.inference.paste_back import (
    Tone,
    apply_tone,
    enlargement,
    face_mask,
    measure_tone,
    paste,
)

CROP_PX = 96


def _film(height: int = 180, width: int = 240) -> np.ndarray:
    rng = np.random.default_rng(0)
    noise = rng.uniform(0, 255, (height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 6)
    return np.clip((smooth - 127) * 6 + 127, 0, 255).astype(np.uint8)


def _circle(x: float = 48, y: float = 48, radius: float = 30) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)


def _affine(side_px: float, left: float, top: float, turn: float = 0.0) -> np.ndarray:
    """Film to crop: the square of that side and corner, turned about the corner."""
    scale = CROP_PX / side_px
    c, s = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.array([[c, -s], [s, c]])
    out = np.eye(3)
    out[:2, :2], out[:2, 2] = linear, -linear @ [left, top]
    return out


def _crop(film: np.ndarray, film_to_crop: np.ndarray) -> np.ndarray:
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    by_centres = (np.linalg.inv(half) @ film_to_crop @ half)[:2]
    return cv2.warpAffine(film, by_centres, (CROP_PX, CROP_PX), flags=cv2.INTER_CUBIC)


@settings(max_examples=25, deadline=None)
@given(
    side=st.floats(70, 130), left=st.floats(-30, 150), top=st.floats(-30, 100),
    turn=st.floats(-0.3, 0.3),
)  # fmt: skip
def test_an_unmodified_crop_comes_back(side, left, top, turn):
    film, affine = _film(), _affine(side, left, top, turn)
    mask = face_mask(_circle(), CROP_PX)
    # Compare well inside the film: the crop is black where it leaves the film.
    left_film = _crop(np.full_like(film, 255), affine).min() < 255
    out = paste(film, _crop(film, affine), affine, mask)
    changed = np.abs(out.astype(int) - film)
    assert out.dtype == np.uint8
    assert left_film or changed.max() <= 6
    # Outside of the outline, seen from the film, nothing changes at all.
    y, x = np.mgrid[: film.shape[0], : film.shape[1]] + 0.5
    u, v, _ = np.einsum("ij,jhw->ihw", affine, np.stack([x, y, np.ones_like(x)]))
    far = np.hypot(u - 48, v - 48) > 30 + 1.5
    assert not changed[far].any()


def test_pixels_under_a_zero_mask_keep_their_bits():
    film, affine = _film(), _affine(100, 60, 40)
    white = np.full((CROP_PX, CROP_PX, 3), 255, np.uint8)
    before = film.copy()
    out = paste(film, white, affine, face_mask(_circle(), CROP_PX))
    assert np.array_equal(film, before)
    changed = (out != film).any(axis=-1)
    rows, columns = np.where(changed)
    assert changed.any()
    assert rows.min() > 40 + 100 * 18 / 96 - 2
    assert columns.max() < 60 + 100 * 78 / 96 + 2
    assert (out[90, 110] == 255).all()


def test_the_centre_of_the_first_pixel_is_at_one_half():
    # A ramp seen at four times its size: a convention off by half a pixel would move it.
    ramp = np.repeat(np.arange(40)[None, :, None] * 6 + 3, 3, axis=2).astype(np.uint8)
    film = np.repeat(ramp, 40, axis=0)
    affine = _affine(24, 8, 8)
    seen_at = (np.arange(CROP_PX) + 0.5) / 4 + 8
    crop = np.broadcast_to(np.rint(seen_at * 6)[None, :, None], (CROP_PX, CROP_PX, 3))
    out = paste(film, crop.astype(np.uint8), affine, face_mask(_circle(), CROP_PX))
    assert np.abs(out.astype(int) - film).max() <= 1


def test_a_face_that_is_off_the_film_changes_nothing():
    film = _film()
    mask = face_mask(_circle(), CROP_PX)
    white = np.full((CROP_PX, CROP_PX, 3), 255, np.uint8)
    assert np.array_equal(paste(film, white, _affine(100, 900, 900), mask), film)
    assert np.array_equal(paste(film, white, _affine(100, 60, 40), 0 * mask), film)


def test_a_smaller_render_is_scaled_without_a_shift():
    film, affine = _film(), _affine(96, 70, 40)
    small = cv2.resize(_crop(film, affine), (48, 48), interpolation=cv2.INTER_AREA)
    out = paste(film, small, affine, face_mask(_circle(), CROP_PX))
    assert np.abs(out.astype(int) - film).mean() < 0.5


def test_mask_covers_the_face_and_fades_inwards():
    mask = face_mask(_circle(), CROP_PX, feather=0.1)
    y, x = np.mgrid[:CROP_PX, :CROP_PX] + 0.5
    radius = np.hypot(x - 48, y - 48)
    fade_px = 0.1 * np.sqrt(np.pi) * 30
    assert (mask[radius > 30] == 0).all()
    assert (mask[radius < 29.5 - fade_px] == 1).all()
    middle = mask[np.abs(radius - (30 - fade_px / 2)) < 0.4]
    assert middle == pytest.approx(np.full_like(middle, 0.5), abs=0.15)


def test_mask_grows_shrinks_and_meets_the_crop_border():
    areas = [face_mask(_circle(), CROP_PX, grow=g).sum() for g in (-0.1, 0, 0.1)]
    assert areas[0] < areas[1] < areas[2]
    # A face that leaves the crop fades at its outline, not at the crop's border.
    assert face_mask(_circle(x=0), CROP_PX)[48, 0] == 1


def test_mask_of_no_face():
    line = np.array([[10.0, 10], [20, 20], [30, 30]])
    assert not face_mask(line, CROP_PX).any()
    with pytest.raises(ValueError, match="not finite"):
        face_mask(np.array([[np.nan, 1.0], [2, 3], [4, 5]]), CROP_PX)


def test_tone_is_matched_to_the_film():
    original = _crop(_film(), _affine(100, 60, 40))
    rendered = np.clip(original * 0.7 + 25, 0, 255).astype(np.uint8)
    mask = face_mask(_circle(), CROP_PX)
    matched = apply_tone(rendered, measure_tone(rendered, original, mask))
    face = mask > 0
    before = np.abs(rendered[face].astype(int) - original[face]).mean()
    after = np.abs(matched[face].astype(int) - original[face]).mean()
    assert after < before / 3


def test_tone_without_a_band_is_neutral_and_changes_no_bit():
    rendered = _crop(_film(), _affine(100, 60, 40))
    assert measure_tone(rendered, rendered, np.zeros((CROP_PX, CROP_PX), np.float32)) == Tone()
    assert np.array_equal(apply_tone(rendered, Tone()), rendered)


def test_enlargement_counts_film_pixels_per_rendered_pixel():
    assert enlargement(_affine(192, 10, 20, turn=0.2), CROP_PX, 96) == pytest.approx(2)
    assert enlargement(_affine(192, 10, 20), CROP_PX, 48) == pytest.approx(4)
