"""What is known of a shot of a film before its first frame is rendered: faces, expressions, sound.

Shapes: F frames of the shot, N rows of a film, T frames of the performance with a face, E
expression coefficients.
"""

from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.inference.paste_back import face_mask, shown_by_film
from model.inference.retime import nearest_frames, retime_expression
from model.inference.smoothing import SmoothingConfig, smooth_expression
from pipeline.faces.rows import FaceRows
from pipeline.films import local_film
from pipeline.rendering.job import FilmShot
from pipeline.stage import Work
from pipeline.stages.rendering import Rgb, commit_of, faces_of
from preprocess.crop import transform
from preprocess.landmarks.openings import face_openings
from preprocess.media.clips import ClipReader
from preprocess.media.probe import FilmInfo, probe_film
from preprocess.media.sound import cut_sound
from preprocess.media.stretch import Stretch, stretch_of, stretch_sound
from preprocess.source_frame import (
    SourceFrameConfig,
    find_source_frame,
    padding_of_crops,
)
from storage.identity import JSON


@dataclass(frozen=True)
class ShotPlan:
    """A stretch of a film with the actor's face and the expression wanted, frame by frame.

    render_F says which frames can be rendered; clip_keys are store keys of the film's crops. info
    is what the delivered file is to look like: where the stretch is_whole, as the film does, with
    sound that begins before its pictures.
    """

    stretch: Stretch
    is_whole: bool
    info: FilmInfo
    clip_keys: dict[str, str]
    actor: FaceRows
    exp_FE: NDArray[np.float32]
    render_F: NDArray[np.bool_]


def plan_shot(work: Work, shot: FilmShot, film: Path, smoothing: SmoothingConfig) -> ShotPlan:
    """Return the plan of a shot. Raises UnusableFilm, EmptyStretch."""
    clip_keys, rows = faces_of(work, "film", int(str(work.item.inputs["person"])))
    _, performer = faces_of(work, "performance")
    info = probe_film(film)
    # Times are whole ticks, so the rows give them back, and the film need not be decoded for them.
    pts = [round(Fraction(pts_s) / info.time_base) for pts_s in rows.pts_s_N.tolist()]
    stretch = stretch_of(info, pts, shot.start_s, shot.end_s)
    actor = rows.at(np.asarray(stretch.frames))
    exp_FE, known_F = _expressions(actor, performer, shot.performance.start_s, smoothing)
    is_whole = len(stretch.frames) == len(pts)
    return ShotPlan(
        stretch=stretch,
        is_whole=is_whole,
        info=info if is_whole else stretch.info,
        clip_keys=clip_keys,
        actor=actor,
        exp_FE=exp_FE,
        render_F=actor.ok_N & known_F,
    )


def _expressions(
    actor: FaceRows, performer: FaceRows, start_s: float, smoothing: SmoothingConfig
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the performance's expressions at the shot's frame times, and which are known."""
    seen = np.flatnonzero(performer.ok_N)
    at_s_F = performer.pts_s_N[0] + start_s + actor.pts_s_N - actor.pts_s_N[0]
    pts_s_T, take_T = performer.pts_s_N[seen], performer.clip_id_N[seen]
    exp_FE, known_F = retime_expression(
        pts_s_T, performer.expression_NE[seen], at_s_F, segment_T=take_T
    )
    if not known_F.any():
        return exp_FE, known_F
    mouth_T, _ = face_openings(performer.landmarks_NK2[seen])
    # A cut of either film ends what may be mixed.
    take_F = np.char.add(np.char.add(actor.clip_id_N, "/"), take_T[nearest_frames(pts_s_T, at_s_F)])
    mouth_F1, _ = retime_expression(
        pts_s_T, mouth_T[:, None].astype(np.float32), at_s_F, segment_T=take_T
    )
    smooth_FE = smooth_expression(
        exp_FE, known_F, smoothing, segment_F=take_F, mouth_F=mouth_F1[:, 0]
    )
    return smooth_FE, known_F


@dataclass(frozen=True)
class ShotSound:
    """The sound that is delivered, and where it comes from.

    file: muxed from its zero on; original, original_start_s: what it must be in step with.
    """

    file: Path
    original: Path
    original_start_s: float


def sound_of(work: Work, shot: FilmShot, film: Path, plan: ShotPlan) -> ShotSound | None:
    """Return the sound of a shot; None where the chosen file has none in that stretch."""
    stretch, cut = plan.stretch, work.folder / "sound.mp4"
    if shot.dub:
        dub = local_film(str(work.item.places["dub"]), work.folder / "dub")
        cut_sound(dub, cut, start_s=shot.dub.start_s, duration_s=stretch.duration_s + 1)
        return ShotSound(cut, dub, shot.dub.start_s)
    if shot.audio == "film":
        if plan.info.audio is None:
            return None
        # The sound of a whole film is copied as it is.
        file = film if plan.is_whole else stretch_sound(film, stretch, cut)
        return None if file is None else ShotSound(file, film, stretch.start_s)
    performance = local_film(str(work.item.places["performance"]), work.folder / "performance")
    if probe_film(performance).audio is None:
        return None
    start_s = shot.performance.start_s
    cut_sound(performance, cut, start_s=start_s, duration_s=stretch.duration_s + 1)
    return ShotSound(cut, performance, start_s)


class FaceCrops:
    """The film's own crops around the face by frame of the shot, and the mask of each face."""

    def __init__(self, work: Work, plan: ShotPlan) -> None:
        self._actor = plan.actor
        self._frame_hw = (plan.info.height, plan.info.width)
        folder = work.folder / "crops"
        folder.mkdir()
        outputs = {out.key: out for out in commit_of(work, "film", "crop").outputs}
        self._clips = {
            clip_id: ClipReader(work.ledger.fetch(outputs[plan.clip_keys[clip_id]], folder))
            for clip_id in dict.fromkeys(plan.actor.clip_id_N[plan.actor.ok_N].tolist())
        }
        self.size_px: int = next(iter(self._clips.values()))[0].shape[0]

    def __getitem__(self, frame: int) -> Rgb:
        """Return the crop [size, size, 3] of a frame that has a face."""
        return self._clips[self._actor.clip_id_N[frame]][int(self._actor.clip_frame_N[frame])]

    def mask(self, frame: int) -> NDArray[np.float32]:
        """Return where the face is in a frame's crop, 0 to 1."""
        points = transform(self._actor.affine_N33[frame], self._actor.landmarks_NK2[frame])
        return face_mask(points, self.size_px)

    def shown(self, frame: int) -> NDArray[np.bool_]:
        """Return which pixels of a frame's crop show the film, not what lies around it."""
        return shown_by_film(self._actor.affine_N33[frame], self.size_px, self._frame_hw)

    def source(self, config: SourceFrameConfig, seed: int) -> tuple[int, dict[str, JSON]]:
        """Return the frame that becomes the source picture, and the reasons for it."""
        seen = np.flatnonzero(self._actor.ok_N)
        height_px, width_px = self._frame_hw
        affine_T33 = self._actor.affine_N33[seen]
        chosen = find_source_frame(
            self._actor.angles_N3[seen],
            self._actor.sharpness_N[seen],
            config,
            seed,
            landmarks_TK2=self._actor.landmarks_NK2[seen],
            padding_T=padding_of_crops(affine_T33, self.size_px, width_px, height_px),
        )
        frame = int(seen[chosen.index])
        return frame, {**asdict(chosen), "index": frame}
