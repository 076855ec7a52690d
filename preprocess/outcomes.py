"""How one film frame ended."""

from enum import StrEnum


class FrameOutcome(StrEnum):
    """Exactly one of these for every film frame; only `ok` frames carry face data."""

    OK = "ok"
    NO_FACE = "no_face"  # the detector found nothing
    LOW_CONFIDENCE = "low_confidence"  # a face was found, its landmarks are not to be trusted
    OCCLUDED = "occluded"  # something lies over the face
    OUT_OF_RANGE = "out_of_range"  # the face has its centre outside of the frame
    DECODE_ERROR = "decode_error"  # the frame could not be read
