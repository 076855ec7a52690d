"""Shot cuts: where one picture does not continue the one before.

PySceneDetect's adaptive detector, which compares each change of hue, saturation and lightness with
those of its neighbours, so that a moving camera makes no cuts.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

Rgb = npt.NDArray[np.uint8]

_SIDE_PX = 160  # longer side of what is compared: a cut changes the whole picture


@dataclass(frozen=True)
class ShotConfig:
    """What counts as a cut."""

    ratio: float = 3.0
    """Change of a frame over the mean change of the two before and the two after it."""
    min_change: float = 15.0
    """Mean change in 8-bit levels, below which nothing is a cut: noise of a still picture."""

    def __post_init__(self) -> None:
        for field in ("ratio", "min_change"):
            if not getattr(self, field) > 0:
                raise ValueError(f"{field} is {getattr(self, field)}; it must be above 0")


class ShotCounter:
    """Takes a film's frames one after the other, and says at the end to which shot each belongs."""

    def __init__(self, config: ShotConfig) -> None:
        self._detector = AdaptiveDetector(
            adaptive_threshold=config.ratio,
            min_content_val=config.min_change,
            min_scene_len=1,  # whatever is cut out later has its own least length
        )
        self._frames = 0
        self._cuts: set[int] = set()

    def see(self, rgb: Rgb) -> None:
        """Take the next frame [H,W,3]."""
        step = max(1, max(rgb.shape[:2]) // (2 * _SIDE_PX))
        few = rgb[
            ::step, ::step
        ]  # averaging every pixel of a large picture takes four times longer
        zoom = _SIDE_PX / max(few.shape[:2])
        size = tuple(max(1, round(side * zoom)) for side in few.shape[1::-1])
        small = cv2.resize(few, size, interpolation=cv2.INTER_AREA)[..., ::-1]
        found = self._detector.process_frame(
            FrameTimecode(self._frames, fps=25.0), np.ascontiguousarray(small)
        )
        self._cuts.update(cut.frame_num for cut in found)
        self._frames += 1

    def shots(self) -> list[int]:
        """Return the number of the shot of every frame, from 0 on."""
        firsts = np.zeros(self._frames, np.int64)
        firsts[sorted(self._cuts - {0})] = 1
        return [int(shot) for shot in np.cumsum(firsts)]
