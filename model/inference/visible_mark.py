"""The visible mark: every delivered frame says that it was generated (Spec 2.10.9)."""

import cv2
import numpy as np
from numpy.typing import NDArray

MARK = "AI-generated"
_HEIGHT_SHARE = 0.035
"""Height of the letters as a share of the frame's: readable at 256 px, unobtrusive at 1080."""


def with_visible_mark(frame_HWC: NDArray[np.uint8], text: str = MARK) -> NDArray[np.uint8]:
    """Return the frame [H, W, 3] with `text` in its lower left corner, light on a darkened bar."""
    height = frame_HWC.shape[0]
    font, letter_px = cv2.FONT_HERSHEY_SIMPLEX, max(9.0, _HEIGHT_SHARE * height)
    scale = letter_px / cv2.getTextSize(text, font, 1, 1)[0][1]
    (text_px, _), below_px = cv2.getTextSize(text, font, scale, 1)
    margin_px = round(letter_px / 2)
    top = round(height - letter_px - below_px - 2 * margin_px)
    marked = frame_HWC.copy()
    marked[top:, : text_px + 2 * margin_px] //= 3
    place = (margin_px, height - margin_px - below_px)
    cv2.putText(marked, text, place, font, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return marked
