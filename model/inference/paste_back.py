"""Put a rendered face back into the film frame it was cropped from (Spec 2.10.6).

Only the face is replaced: background and hair inside the crop would move with the head. The
edge fades inwards from the face's outline, tone is matched on that fading band, and pixels of
the film outside the mask keep their exact values.

Coordinates are continuous pixels: (0, 0) is the picture's top left corner and the centre of the
first pixel is (0.5, 0.5). Affines map film px to crop px.
Shape suffixes: H height, W width, C colour, K points.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

MIN_BAND_PX = 64
SCALE_LIMITS = (0.5, 2.0)


def face_mask(
    outline_K2: NDArray[np.floating],
    size_px: int,
    *,
    grow: float = 0.0,
    feather: float = 0.08,
) -> Floats:
    """Return the mask [size_px, size_px] of a face: 1 inside, fading to 0 at its edge.

    `outline_K2` are face points in crop px (68 landmarks or a mesh); their convex hull is the
    face. `grow` moves the edge outwards (inwards if negative) and `feather` is the width of the
    fade inside the edge, both as fractions of the square root of the hull's area. A hull of
    no area gives an empty mask.
    """
    if not np.isfinite(outline_K2).all():
        raise ValueError("the outline of the face has points that are not finite")
    hull_K2 = cv2.convexHull(outline_K2.astype(np.float32)).reshape(-1, 2).astype(np.float64)
    face_px = float(np.sqrt(cv2.contourArea(hull_K2.astype(np.float32))))
    if face_px < 1:
        return np.zeros((size_px, size_px), np.float32)
    centres_px = np.arange(size_px) + 0.5
    centroid_2 = hull_K2.mean(axis=0)
    # The depth inside a convex outline is the distance to its nearest edge line.
    depth_HW = np.full((size_px, size_px), np.inf)
    for start_2, end_2 in zip(hull_K2, np.roll(hull_K2, -1, axis=0), strict=True):
        across_2 = np.array([start_2[1] - end_2[1], end_2[0] - start_2[0]])
        across_2 *= np.sign(across_2 @ (centroid_2 - start_2)) / np.linalg.norm(across_2)
        from_edge_HW = across_2[0] * centres_px + (across_2[1] * centres_px)[:, None]
        depth_HW = np.minimum(depth_HW, from_edge_HW - across_2 @ start_2)
    ramp_HW = np.clip((depth_HW + grow * face_px) / max(feather * face_px, 1.0), 0, 1)
    return (ramp_HW * ramp_HW * (3 - 2 * ramp_HW)).astype(np.float32)


@dataclass(frozen=True)
class Tone:
    """Per channel of Lab: multiply by `scale`, then add `offset`. Average it to steady a shot."""

    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)


def measure_tone(rendered_HWC: Bytes, original_HWC: Bytes, mask_HW: Floats) -> Tone:
    """Return the change of tone that gives the render the film's mean and spread on the band.

    The band is where the mask fades: there both pictures show the same skin, and there a step
    would be seen; farther out they differ, since hair and background move with the head. With too
    small a band, or one of a single colour, the tone stays or shifts. The mask should be 0 where
    the crop reaches beyond the film (`shown_by_film`): the black there is no tone of the film.
    """
    band = (mask_HW > 0) & (mask_HW < 1)
    if band.sum() < MIN_BAND_PX:
        return Tone()
    got, wanted = (
        _to_lab(image)[band].astype(np.float64) for image in (rendered_HWC, original_HWC)
    )
    spread = got.std(axis=0)
    ratio = np.where(spread > 0.1, wanted.std(axis=0) / np.maximum(spread, 0.1), 1.0)
    scale = np.clip(ratio, *SCALE_LIMITS)
    offset = wanted.mean(axis=0) - scale * got.mean(axis=0)
    (s0, s1, s2), (o0, o1, o2) = scale.tolist(), offset.tolist()
    return Tone((s0, s1, s2), (o0, o1, o2))


def apply_tone(rendered_HWC: Bytes, tone: Tone) -> Bytes:
    """Return the render with its tone changed; the neutral tone changes no value."""
    if tone == Tone():
        return rendered_HWC
    lab = _to_lab(rendered_HWC) * np.array(tone.scale, np.float32)
    lab += np.array(tone.offset, np.float32)
    rgb = cv2.cvtColor(lab, cv2.COLOR_Lab2RGB)
    return np.asarray(np.rint(np.clip(rgb, 0, 1) * 255), np.uint8)


def _to_lab(image_HWC: Bytes) -> Floats:
    lab = cv2.cvtColor(image_HWC.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    return np.asarray(lab, dtype=np.float32)


def enlargement(film_to_crop_33: NDArray[np.floating], crop_px: int, rendered_px: int) -> float:
    """Return film pixels per rendered pixel; above about 2 the face looks soft in the film."""
    crop_per_film = float(np.sqrt(abs(np.linalg.det(film_to_crop_33[:2, :2]))))
    return crop_px / (rendered_px * crop_per_film)


def shown_by_film(
    film_to_crop_33: NDArray[np.floating], crop_px: int, frame_hw: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Return which pixels [crop_px, crop_px] of a crop show the film, not the black around it.

    Pixels within one pixel of the film's border do not count: the black is mixed into them.
    """
    to_film = np.linalg.inv(film_to_crop_33.astype(np.float64))
    centres_px = np.arange(crop_px) + 0.5
    x_HW, y_HW = (
        row[0] * centres_px + (row[1] * centres_px)[:, None] + row[2] for row in to_film[:2]
    )
    margin_px = 1 + float(np.sqrt(abs(np.linalg.det(to_film[:2, :2]))))
    height, width = frame_hw
    across_HW = (x_HW >= margin_px) & (x_HW <= width - margin_px)
    down_HW = (y_HW >= margin_px) & (y_HW <= height - margin_px)
    return np.asarray(across_HW & down_HW, np.bool_)


def paste(
    frame_HWC: Bytes,
    rendered_HWC: Bytes,
    film_to_crop_33: NDArray[np.floating],
    mask_HW: Floats,
) -> Bytes:
    """Return the film frame with the render blended in where the mask is above 0.

    The mask has the crop's size, which the affine speaks of; a render of another size is
    scaled to it. Pixels outside the warped mask are bit-identical to the frame.
    """
    placed = _placed(mask_HW, film_to_crop_33, frame_HWC.shape[:2])
    return _blended(frame_HWC, rendered_HWC, placed, mask_HW.shape[0])


def mask_on_film(
    mask_HW: Floats, film_to_crop_33: NDArray[np.floating], frame_hw: tuple[int, ...]
) -> Floats:
    """Return the mask of a crop as it lies on the film frame: [H,W] of the frame, 0 to 1.

    It is the weight with which `paste` blends: where it is 0 the film keeps its values.
    """
    return _on_film(_placed(mask_HW, film_to_crop_33, frame_hw), frame_hw)


def paste_with_mask(
    frame_HWC: Bytes,
    rendered_HWC: Bytes,
    film_to_crop_33: NDArray[np.floating],
    mask_HW: Floats,
) -> tuple[Bytes, Floats]:
    """Return what `paste` and `mask_on_film` return, the mask being warped once for both."""
    placed = _placed(mask_HW, film_to_crop_33, frame_HWC.shape[:2])
    pasted_HWC = _blended(frame_HWC, rendered_HWC, placed, mask_HW.shape[0])
    return pasted_HWC, _on_film(placed, frame_HWC.shape[:2])


@dataclass(frozen=True, eq=False)
class _Placed:
    """A mask warped into the part of the film that it reaches.

    `window_to_crop_23` speaks of pixels as OpenCV counts them, from the centre of the first.
    """

    rows: slice
    columns: slice
    window_to_crop_23: NDArray[np.float64]
    weight_HW: Floats


def _placed(
    mask_HW: Floats, film_to_crop_33: NDArray[np.floating], frame_hw: tuple[int, ...]
) -> _Placed | None:
    """Return the mask as it lies on the film; None where it does not reach it."""
    window = _window(film_to_crop_33, mask_HW, frame_hw)
    if window is None:
        return None
    rows, columns = window
    # OpenCV counts from pixel centres, and the window's corner becomes (0, 0).
    to_crop = _shift(-0.5, -0.5) @ film_to_crop_33.astype(np.float64)
    window_to_crop = (to_crop @ _shift(columns.start + 0.5, rows.start + 0.5))[:2]
    weight = cv2.warpAffine(
        mask_HW,
        window_to_crop,
        (columns.stop - columns.start, rows.stop - rows.start),
        flags=cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR,
    )
    return _Placed(rows, columns, window_to_crop, np.asarray(weight, np.float32))


def _on_film(placed: _Placed | None, frame_hw: tuple[int, ...]) -> Floats:
    weight_HW = np.zeros(frame_hw, np.float32)
    if placed is not None:
        weight_HW[placed.rows, placed.columns] = placed.weight_HW
    return weight_HW


def _blended(frame_HWC: Bytes, rendered_HWC: Bytes, placed: _Placed | None, crop_px: int) -> Bytes:
    out = frame_HWC.copy()
    if placed is None:
        return out
    film_to_crop = placed.window_to_crop_23
    rendered = _resize(rendered_HWC, crop_px)
    shrink = float(np.sqrt(abs(np.linalg.det(film_to_crop[:, :2]))))
    if shrink > 1.25:  # The film shows the face smaller than the crop: low-pass before sampling.
        sigma_px = 0.5 * float(np.sqrt(shrink**2 - 1))
        rendered = np.asarray(cv2.GaussianBlur(rendered, (0, 0), sigma_px), np.uint8)
    face = cv2.warpAffine(
        rendered,
        film_to_crop,
        placed.weight_HW.shape[::-1],
        flags=cv2.WARP_INVERSE_MAP | cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    ).astype(np.float32)
    weight = placed.weight_HW[..., None]
    film = out[placed.rows, placed.columns]
    blended = film + weight * (face - film)
    out[placed.rows, placed.columns] = np.where(weight > 0, np.rint(np.clip(blended, 0, 255)), film)
    return out


def _shift(x_px: float, y_px: float) -> NDArray[np.float64]:
    return np.array([[1, 0, x_px], [0, 1, y_px], [0, 0, 1]], np.float64)


def _resize(image_HWC: Bytes, size_px: int) -> Bytes:
    if image_HWC.shape[0] == size_px:
        return image_HWC
    filter_ = cv2.INTER_AREA if image_HWC.shape[0] > size_px else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image_HWC, (size_px, size_px), interpolation=filter_), np.uint8)


def _window(
    film_to_crop_33: NDArray[np.floating], mask_HW: Floats, frame_hw: tuple[int, ...]
) -> tuple[slice, slice] | None:
    """Return the rows and columns of the film that the mask can reach, or None."""
    inside = np.argwhere(mask_HW > 0)
    if not len(inside):
        return None
    (top, left), (bottom, right) = inside.min(axis=0) - 1, inside.max(axis=0) + 2
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)
    to_film = np.linalg.inv(film_to_crop_33.astype(np.float64))
    on_film = corners @ to_film[:2, :2].T + to_film[:2, 2]
    height, width = frame_hw
    x0, y0 = np.maximum(np.floor(on_film.min(axis=0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(on_film.max(axis=0)).astype(int), (width, height))
    return None if x0 >= x1 or y0 >= y1 else (slice(y0, y1), slice(x0, x1))
