"""Still pictures."""

from pathlib import Path

import cv2
import numpy as np

from preprocess.media.colour import RgbImage


def read_picture(path: Path) -> RgbImage | None:
    """RGB [H, W, 3] of a picture file; None for bytes that are no picture. Raises OSError."""
    coded = np.frombuffer(path.read_bytes(), np.uint8)
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR_RGB) if coded.size else None
    return None if decoded is None else np.asarray(decoded, np.uint8)
