"""Pictures of clips and films: crops with landmarks, and at a glance what was rejected and why."""

from collections.abc import Mapping

import cv2
import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from pipeline.dataset import DatasetVersion, FilmEntry
from pipeline.reports.clip_frames import (
    ClipFrame,
    ClipView,
    faces_of_film,
    film_frame,
    view_clip,
)
from pipeline.reports.page import Picture
from pipeline.reports.pictures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    Image,
    jpeg,
    stack,
    strip,
    with_points,
)
from pipeline.reports.survey import ClipFacts
from pipeline.scratch import scratch_folder
from preprocess.crop import transform
from preprocess.outcomes import FrameOutcome
from storage.ledger import Ledger

COLOURS: Mapping[str, str] = {
    "ok": GREEN,
    FrameOutcome.OCCLUDED: ORANGE,
    FrameOutcome.OUT_OF_RANGE: BLUE,
    FrameOutcome.LOW_CONFIDENCE: RED,
    FrameOutcome.NO_FACE: GREY,
    FrameOutcome.DECODE_ERROR: BLACK,
    "filtered": BLUE,
    "failed": RED,
    "crashed": BLACK,
    "turned_away": BLUE,
    "blurry": RED,
    "badly_fitted": PURPLE,
    "too_short": GREY,
    "face_too_small": SKY,
}
"""Colours of outcomes and reasons, everywhere on the page."""

_TILES = 8
_TILE_PX = 128
_LABEL_PX = 18
_LINE_PX = 10
_FILM_PX = 200
_MOST_OF_WIDTH = 16 / 9
"""Of a film's own frame beside its clip, in heights of the strip."""
_QUALITY = 80


def clip_picture(ledger: Ledger, version: DatasetVersion, clip: ClipFacts, caption: str) -> Picture:
    """Return frames of a clip above a line that has the outcome of every frame.

    Rejected frames have a coloured frame, and say why below. To the left, where the film is not
    too long, stands the film's own frame with the box of the crop.
    """
    with scratch_folder() as folder:
        view = view_clip(ledger, version, clip, _TILES, folder)
        worst = view.worst()
        whole = film_frame(ledger, clip.film, worst.tick, folder)
    tiles = [_tile(frame) for frame in view.frames.values()]
    image = stack([strip(tiles, _TILE_PX + _LABEL_PX), _line(view, _TILES * _TILE_PX)])
    if whole is not None:
        _draw_box(whole, worst.box_xyxy, COLOURS[worst.outcome])
        image = np.hstack([_fitted(whole, image.shape[0]), image]).astype(np.uint8)
    return jpeg(image, caption, max_width_px=image.shape[1], quality=_QUALITY)


def film_picture(ledger: Ledger, film: FilmEntry, caption: str) -> Picture | None:
    """Return a frame of a film without clips, its faces drawn; None where there is none to show."""
    with scratch_folder() as folder:
        tick, faces = faces_of_film(ledger, film, folder)
        image = film_frame(ledger, film, tick, folder)
    if image is None:
        return None
    for points_K2 in faces:
        _draw_box(image, np.r_[points_K2.min(axis=0), points_K2.max(axis=0)], COLOURS["filtered"])
    zoom = _FILM_PX / image.shape[0]
    image = strip([image], _FILM_PX)
    for points_K2 in faces:
        image = with_points(image, points_K2 * zoom)
    return jpeg(image, caption, quality=_QUALITY)


def _tile(frame: ClipFrame) -> Image:
    """Return a crop with its landmarks, framed where it was rejected, and its label below."""
    zoom = _TILE_PX / frame.picture.shape[0]
    tile = strip([frame.picture], _TILE_PX)
    if frame.points_K2 is not None:
        tile = with_points(tile, transform(frame.affine_33, frame.points_K2) * zoom)
    is_ok = frame.outcome == FrameOutcome.OK
    colour = (0, 0, 0) if is_ok else _rgb(COLOURS[frame.outcome])
    if not is_ok:
        cv2.rectangle(tile, (1, 1), (_TILE_PX - 2, _TILE_PX - 2), colour, 3)
    label = np.full((_LABEL_PX, _TILE_PX, 3), colour, np.uint8)
    said = str(frame.tick) if is_ok else f"{frame.tick} {frame.reason or 'clip filtered'}"
    ink = (0, 0, 0) if sum(colour) > 330 else (255, 255, 255)
    at = (4, _LABEL_PX - 5)
    cv2.putText(label, said, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, ink, 1, cv2.LINE_AA)
    return np.vstack([tile, label]).astype(np.uint8)


def _line(view: ClipView, width_px: int) -> Image:
    """Return a line over all frames of the clip in their colours; notches mark those shown."""
    colours_T3 = np.array([_rgb(COLOURS[outcome]) for outcome in view.outcomes], np.uint8)
    frames = len(colours_T3)
    line = np.tile(colours_T3[np.arange(width_px) * frames // width_px], (_LINE_PX, 1, 1))
    line[:2] = 0
    for number in view.frames:
        x = round((number + 0.5) * width_px / frames)
        line[2:5, max(0, x - 1) : x + 2] = 255
    return line.astype(np.uint8)


def _fitted(image: Image, height_px: int) -> Image:
    """Return a film's frame at this height; a wider one than most is shrunk to fit, on black."""
    widest_px = round(_MOST_OF_WIDTH * height_px)
    height = min(height_px, round(image.shape[0] * widest_px / image.shape[1]))
    shrunk = strip([image], max(1, height))
    above = (height_px - shrunk.shape[0]) // 2
    padding = ((above, height_px - shrunk.shape[0] - above), (0, 4), (0, 0))
    return np.pad(shrunk, padding).astype(np.uint8)


def _draw_box(image: Image, box_xyxy: NDArray[np.floating], colour: str) -> None:
    left, top, right, bottom = np.round(box_xyxy).astype(int).tolist()
    thickness = max(2, round(image.shape[0] / 60))
    cv2.rectangle(image, (left, top), (right, bottom), _rgb(colour), thickness)


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in to_rgb(colour))
    return red, green, blue
