"""What a method that does nothing would score: the source frame in place of every frame.

Shape suffixes: T frames, H height, W width, C colour.
"""

import numpy as np
from numpy.typing import NDArray

from model.evaluation.metrics import Summary, psnr, summarise
from model.evaluation.reenactment import MeasuredFrames


def copies_of(source: MeasuredFrames, frames: int) -> MeasuredFrames:
    """Return the source, one frame, `frames` times over: it goes through the same metrics.

    A reenactment that does not beat it has learned nothing about motion. In cross-identity its
    distances are the source's own to the driver.
    """
    if len(source) != 1:
        raise ValueError(f"a source is one frame, not {len(source)}")
    return source.at(np.zeros(frames, np.int64))


def copy_source_psnr(source_HWC: NDArray[np.uint8], driving_THWC: NDArray[np.uint8]) -> Summary:
    """Return the PSNR of the source frame against every driving frame.

    Leave the source frame itself out of `driving_THWC`: it scores infinitely.
    """
    return summarise(np.array([psnr(source_HWC, frame) for frame in driving_THWC]))
