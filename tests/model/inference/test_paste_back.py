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
    mask_on_film,
    measure_tone,
    paste,
    paste_with_mask,
    shown_by_film,
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


def test_on_the_band_mean_and_spread_become_the_films():
    original = (_crop(_film(), _affine(100, 60, 40)) // 2 + 64).astype(np.uint8)
    rendered = (original * 0.7 + 25).astype(np.uint8)
    mask = face_mask(_circle(), CROP_PX)
    # Inside and outside of the band the pictures may differ as they like.
    rendered[mask == 1], rendered[mask == 0] = [10, 200, 30], [250, 0, 0]
    matched = apply_tone(rendered, measure_tone(rendered, original, mask))
    band = (mask > 0) & (mask < 1)
    got, wanted = (
        cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[band]
        for image in (matched, original)
    )
    np.testing.assert_allclose(got.mean(axis=0), wanted.mean(axis=0), atol=0.3)
    np.testing.assert_allclose(got.std(axis=0), wanted.std(axis=0), rtol=0.05)


def test_black_beyond_the_film_does_not_darken_the_tone():
    film, affine = np.full((180, 240, 3), 160, np.uint8), _affine(100, -50, 40)
    original, grey = _crop(film, affine), np.full((CROP_PX, CROP_PX, 3), 160, np.uint8)
    mask = face_mask(_circle(), CROP_PX)
    shown = shown_by_film(affine, CROP_PX, film.shape[:2])
    assert (original[shown] == 160).all()
    assert measure_tone(grey, original, mask).offset[0] < -5
    assert measure_tone(grey, original, mask * shown).offset[0] == pytest.approx(0, abs=0.01)


@settings(max_examples=25, deadline=None)
@given(
    side=st.floats(70, 130), left=st.floats(-60, 200), top=st.floats(-60, 150),
    turn=st.floats(-0.3, 0.3),
)  # fmt: skip
def test_only_what_lies_well_within_the_film_is_shown_by_it(side, left, top, turn):
    affine = _affine(side, left, top, turn)
    seen = _crop(np.full((180, 240, 3), 255, np.uint8), affine)[..., 0]
    shown = shown_by_film(affine, CROP_PX, (180, 240))
    assert (seen[shown] == 255).all()
    # What is withheld is a rim of two pixels of film, three of the crop.
    rim = cv2.erode((seen == 255).astype(np.uint8), np.ones((9, 9), np.uint8), borderValue=0)
    assert shown[rim > 0].all()


@settings(max_examples=25, deadline=None)
@given(
    side=st.floats(40, 200), left=st.floats(-150, 250), top=st.floats(-150, 190),
    turn=st.floats(-0.3, 0.3),
)  # fmt: skip
def test_the_mask_on_the_film_is_what_paste_blends_with(side, left, top, turn):
    film, affine = _film() // 2, _affine(side, left, top, turn)
    mask = face_mask(_circle(), CROP_PX)
    white = np.full((CROP_PX, CROP_PX, 3), 255, np.uint8)
    pasted, weight = paste_with_mask(film, white, affine, mask)
    assert np.array_equal(pasted, paste(film, white, affine, mask))
    assert np.array_equal(weight, mask_on_film(mask, affine, film.shape[:2]))
    assert (weight.shape, weight.dtype) == (film.shape[:2], np.float32)
    assert np.array_equal(pasted[weight == 0], film[weight == 0])
    blended = film + weight[..., None].astype(np.float64) * (255.0 - film)
    assert np.abs(pasted - blended).max() <= 0.501


def test_the_mask_on_the_film_is_the_mask_at_the_films_pixels():
    mask, affine = face_mask(_circle(), CROP_PX), _affine(120, 60, 40)
    weight = mask_on_film(mask, affine, (180, 240))
    y, x = np.mgrid[:180, :240] + 0.5
    # The ramp of the circle's own mask, in closed form, seen where the film's pixels fall.
    radius = np.hypot((x - 60) * 0.8 - 48, (y - 40) * 0.8 - 48)
    ramp = np.clip((30 - radius) / (0.08 * np.sqrt(np.pi) * 30), 0, 1)
    assert np.abs(weight - ramp * ramp * (3 - 2 * ramp)).max() < 0.06
    same = mask_on_film(mask, np.eye(3), (CROP_PX, CROP_PX))
    assert np.array_equal(same, mask)
    assert not mask_on_film(mask, _affine(100, 900, 900), (180, 240)).any()


def test_tone_without_a_band_is_neutral_and_changes_no_bit():
    rendered = _crop(_film(), _affine(100, 60, 40))
    assert measure_tone(rendered, rendered, np.zeros((CROP_PX, CROP_PX), np.float32)) == Tone()
    assert np.array_equal(apply_tone(rendered, Tone()), rendered)


def test_enlargement_counts_film_pixels_per_rendered_pixel():
    assert enlargement(_affine(192, 10, 20, turn=0.2), CROP_PX, 96) == pytest.approx(2)
    assert enlargement(_affine(192, 10, 20), CROP_PX, 48) == pytest.approx(4)
