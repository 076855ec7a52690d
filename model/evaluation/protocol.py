"""Which frame is the source and which frames drive it, in both protocols (Spec 2.8).

Same-identity: the first frontal frame of each clip is the source, other frames of the clip drive
it. Cross-identity: the same driving frames of each clip drive the source of another clip, by a
permutation that a seed fixes, and never of a clip of the same person. Pairs are plain values, so
that two networks can be compared on the very same ones.

Shape suffixes: T frames of a clip, 25 camera label.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from model.geometry.camera import unpack_label

Protocol = Literal["same", "cross"]


@dataclass(frozen=True)
class ProtocolConfig:
    """How sources and driving frames are chosen."""

    frames_per_clip: int = 24
    """Driving frames of a clip, at most: a clip of a minute would take hours on a CPU."""
    stretch_frames: int = 6
    """Driving frames come in stretches of so many neighbours: jitter needs three, at least."""
    frontal_rad: float = float(np.deg2rad(10))
    """Largest yaw or pitch of a frontal frame (Spec 2.10.2)."""
    seed: int = 0
    """Draws the permutation of the cross-identity protocol."""

    def __post_init__(self) -> None:
        for name in ("frames_per_clip", "stretch_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is 1 or more")


@dataclass(frozen=True, eq=False)
class ClipFrames:
    """What the protocol has to know of a clip: its poses, and what each frame may be used for."""

    clip_id: str
    camera_T25: NDArray[np.floating]
    may_be_source_T: NDArray[np.bool_]
    may_drive_T: NDArray[np.bool_]


@dataclass(frozen=True)
class Pair:
    """One source frame and the frames of a clip that drive it."""

    protocol: Protocol
    source_clip: str
    source_frame: int
    driving_clip: str
    driving_frames: tuple[int, ...]


def off_axis_rad(camera_T25: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the larger of |yaw| and |pitch| [T], 0 for a face seen from the front.

    The camera's axis in the frame of the face says both, in every camera mode.
    """
    pose_T44, _ = unpack_label(np.asarray(camera_T25, np.float64))
    x, y, z = np.moveaxis(pose_T44[:, :3, 2], -1, 0)
    yaw, pitch = np.arcsin(np.clip(x, -1, 1)), np.arctan2(y, -z)
    return np.asarray(np.maximum(np.abs(yaw), np.abs(pitch)), np.float64)


def source_frame(clip: ClipFrames, frontal_rad: float) -> int | None:
    """Return the first frontal frame that may be a source, else the most frontal one.

    None where no frame may be a source.
    """
    frames = np.flatnonzero(clip.may_be_source_T)
    if not frames.size:
        return None
    off_rad = off_axis_rad(clip.camera_T25[frames])
    frontal = frames[off_rad <= frontal_rad]
    return int(frontal[0] if frontal.size else frames[off_rad.argmin()])


def driving_frames(clip: ClipFrames, source: int, config: ProtocolConfig) -> tuple[int, ...]:
    """Return the frames that drive, in order: all but the source, or stretches spread evenly."""
    frames = np.flatnonzero(clip.may_drive_T)
    frames = frames[frames != source]
    most = config.frames_per_clip
    if len(frames) <= most:
        return tuple(frames.tolist())
    length = min(config.stretch_frames, most)
    # Starts are further apart than a stretch is long, so no frame comes twice. One alone lies in
    # the middle: the frames next to the source say little.
    last, stretches = len(frames) - length, most // length
    starts = np.linspace(0, last, stretches) if stretches > 1 else np.array([last / 2])
    starts = starts.round().astype(np.int64)
    return tuple(frames[starts[:, None] + np.arange(length)].ravel().tolist())


def same_identity_pairs(clips: Sequence[ClipFrames], config: ProtocolConfig) -> list[Pair]:
    """Return a pair for each clip that has a source and at least one frame to drive it."""
    pairs = []
    for clip in clips:
        source = source_frame(clip, config.frontal_rad)
        if source is None:
            continue
        driving = driving_frames(clip, source, config)
        if driving:
            pairs.append(Pair("same", clip.clip_id, source, clip.clip_id, driving))
    return pairs


def cross_identity_pairs(
    same: Sequence[Pair], person_of: Mapping[str, str], config: ProtocolConfig
) -> list[Pair]:
    """Let each clip drive the source of another person's, given same-identity pairs.

    `person_of` maps clip to person. Each source is driven once, unless one person has more than
    half of the clips: then sources of the others come again. With one person there is no pair.
    """
    drivers = _by_person(same, person_of, config.seed)
    largest = max((len(group) for group in drivers), default=0)
    ordered = [pair for group in drivers for pair in group]
    pairs = []
    for number, driver in enumerate(ordered):
        person = person_of[driver.driving_clip]
        source = ordered[(number + largest) % len(ordered)]
        if person_of[source.source_clip] == person:
            others = [one for one in ordered if person_of[one.source_clip] != person]
            if not others:
                return []
            source = others[number % len(others)]
        pairs.append(
            Pair(
                "cross",
                source.source_clip,
                source.source_frame,
                driver.driving_clip,
                driver.driving_frames,
            )
        )
    in_order = {pair.driving_clip: number for number, pair in enumerate(same)}
    return sorted(pairs, key=lambda pair: in_order[pair.driving_clip])


def pairs_as_plain(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Return pairs as values for JSON; `pairs_from_plain` reads them."""
    return [{**asdict(pair), "driving_frames": list(pair.driving_frames)} for pair in pairs]


def pairs_from_plain(values: Sequence[Mapping[str, Any]]) -> list[Pair]:
    """Return the pairs that `pairs_as_plain` gave. Raises ValueError for anything else."""
    try:
        return [
            Pair(**{**value, "driving_frames": tuple(value["driving_frames"])}) for value in values
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(f"this is no list of pairs ({error})") from error


def _by_person(same: Sequence[Pair], person_of: Mapping[str, str], seed: int) -> list[list[Pair]]:
    """Return the pairs by person; the order of persons and of a person's clips is drawn.

    Shifted by the size of the largest group, no pair of the joined list meets its own group as
    long as that group has no more than half of the clips.
    """
    rng = np.random.default_rng(seed)
    groups: dict[str, list[Pair]] = defaultdict(list)
    for number in rng.permutation(len(same)).tolist():
        groups[person_of[same[number].driving_clip]].append(same[number])
    return list(groups.values())
