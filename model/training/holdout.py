"""Frames that a run never trains on, so that it can be judged on persons it knows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.training.data import Clip


@dataclass(frozen=True)
class Holdout:
    """The end of every clip. Neighbours in time are nearly the same picture, hence the gap."""

    tail_share: float = 0.0
    """Share of a clip's frames, from its end; 0 trains on all (the paper tests on other films)."""
    gap_frames: int = 5
    """Frames before that end which are neither trained on nor judged (0.2 s at 25 fps)."""

    def __post_init__(self) -> None:
        if not 0 <= self.tail_share < 1:
            raise ValueError(f"tail_share is {self.tail_share}; allowed is from 0 to below 1")
        if self.gap_frames < 0:
            raise ValueError(f"gap_frames is {self.gap_frames}; allowed is 0 or more")


def split(clips: Sequence[Clip], holdout: Holdout) -> tuple[list[Clip], list[Clip]]:
    """Return every clip twice: with the frames to train on, and with those held out.

    Frames keep their numbers; what is not in a part is not usable there. Without a held-out tail
    the second part has no usable frames.
    """
    return (
        [_only(clip, 0, _tail(clip, holdout) - _gap(holdout)) for clip in clips],
        [_only(clip, _tail(clip, holdout), clip.n_frames) for clip in clips],
    )


def _tail(clip: Clip, holdout: Holdout) -> int:
    return clip.n_frames - round(holdout.tail_share * clip.n_frames)


def _gap(holdout: Holdout) -> int:
    return holdout.gap_frames if holdout.tail_share else 0


def _only(clip: Clip, start: int, stop: int) -> Clip:
    frames_T = np.arange(clip.n_frames)
    return replace(clip, usable_T=clip.usable_T & (frames_T >= start) & (frames_T < stop))
