"""What a method that does nothing would score: the source frame in place of every frame.

Shape suffixes: T frames, H height, W width, C colour.
"""

import numpy as np
from numpy.typing import NDArray

from model.evaluation.metrics import Summary, psnr, summarise


def copy_source_psnr(source_HWC: NDArray[np.uint8], driving_THWC: NDArray[np.uint8]) -> Summary:
    """Return the PSNR of the source frame against every driving frame.

    A reenactment that does not beat this has learned nothing about motion. Leave the source
    frame itself out of `driving_THWC`: it scores infinitely.
    """
    return summarise(np.array([psnr(source_HWC, frame) for frame in driving_THWC]))
