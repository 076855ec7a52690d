"""The clips of a dataset as evaluation may use them: what the run has seen, and who is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.evaluation.protocol import ClipFrames
from model.training.data import Clip
from model.training.holdout import Holdout, split
from pipeline.dataset import DatasetVersion
from pipeline.faces.persons import cast_of
from pipeline.training.clips import training_clips
from storage.ledger import Ledger


class Seen(StrEnum):
    """What the run knows of a frame that drives."""

    NEW_FILM = "new film"
    HELD_OUT = "held out"
    TRAINED_ON = "trained on"
    """Where a run holds nothing out: its numbers are no better than those of its training."""


@dataclass(frozen=True, eq=False)
class JudgedClip:
    """A clip, and which of its frames may be sources and which may drive.

    trained_T says which the run has trained on; it is None for a film that is new to it.
    """

    clip: Clip
    frames: ClipFrames
    trained_T: NDArray[np.bool_] | None

    def seen(self, frame: int) -> Seen:
        """Return what the run knows of a frame."""
        if self.trained_T is None:
            return Seen.NEW_FILM
        return Seen.TRAINED_ON if self.trained_T[frame] else Seen.HELD_OUT


def clips_to_judge(
    ledger: Ledger,
    dataset: DatasetVersion,
    trained_on: Sequence[DatasetVersion],
    holdout: Holdout,
    folder: Path,
) -> list[JudgedClip]:
    """Copy the clips of a dataset into `folder`, and say of each frame what it may be used for.

    Of films that the run was trained on, frames it has trained on are sources and frames held out
    drive; where it holds nothing out, all frames are both. Of other films all frames are both.
    Films that the run was trained on in other clips are left out: which frames it knows is unknown.
    """
    known_films: dict[str, set[str]] = {}
    for film in (film for version in trained_on for film in version.ok_films):
        known_films.setdefault(film.source_id, set()).add(film.keys["face3d"])
    own = {
        film.source_id
        for film in dataset.ok_films
        if known_films.get(film.source_id) == {film.keys["face3d"]}
    }
    judged = []
    for clip in training_clips(ledger, dataset, folder):
        source_id = clip.person.split("/")[0]
        if source_id in own:
            judged.append(_known(clip, holdout))
        elif source_id not in known_films:
            judged.append(JudgedClip(clip, _frames(clip, clip, clip), None))
    return judged


def persons_by_clip(
    ledger: Ledger, dataset: DatasetVersion, judged: list[JudgedClip], same_person: float
) -> Mapping[str, str]:
    """Return who each clip shows; who is in several films is one person, where embeddings tell.

    `same_person` is the mean cosine of embeddings from which on two are one.
    """
    cast = cast_of(ledger, dataset, same_person, lambda _said: None)
    named = {
        f"{each.film.source_id}/{each.number}": f"{person[0].film.source_id}/{person[0].number}"
        for person in cast.persons
        for each in person
    }
    return {one.clip.clip_id: named.get(one.clip.person, one.clip.person) for one in judged}


def _known(clip: Clip, holdout: Holdout) -> JudgedClip:
    (trained,), (held_out,) = split([clip], holdout)
    driving = held_out if holdout.tail_share else trained
    return JudgedClip(clip, _frames(clip, trained, driving), trained.usable_T)


def _frames(clip: Clip, sources: Clip, driving: Clip) -> ClipFrames:
    return ClipFrames(
        clip_id=clip.clip_id,
        camera_T25=clip.camera_T25,
        may_be_source_T=sources.usable_T,
        may_drive_T=driving.usable_T,
    )
