"""How one film frame ended."""

from enum import StrEnum


class FrameOutcome(StrEnum):
    """Exactly one of these for every film frame; only `ok` frames carry face data.

    Where a frame shows several faces, each has its own, and the frame has the first of these.
    """

    OK = "ok"
    OCCLUDED = "occluded"  # something lies over the face
    OUT_OF_RANGE = "out_of_range"  # outside of the frame or of the recipe's limits
    LOW_CONFIDENCE = "low_confidence"  # a face was found, its landmarks are not to be trusted
    NO_FACE = "no_face"  # the detector found nothing
    DECODE_ERROR = "decode_error"  # the frame could not be read
