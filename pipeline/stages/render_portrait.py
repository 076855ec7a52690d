"""A still portrait that moves with a performance, in the performer's pose (Spec 2.10).

Shapes: F frames of the clip, E expression coefficients.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.geometry.orbit import PIVOT_EG3D, PIVOT_EXACT, orbit_label
from pipeline.faces.rows import FaceRows
from pipeline.films import local_film, unusable
from pipeline.rendering.job import PortraitShot, Pose
from pipeline.stage import Outcome, Result, Work
from pipeline.stages.portrait import CROP, SIZE_PX, Portrait
from pipeline.stages.rendering import (
    DELIVERED,
    BeforeAfter,
    RenderStage,
    Rgb,
    commit_of,
    faces_of,
    grown,
)
from preprocess.face3d.cameras import CameraMode
from preprocess.media.colour import BT709, LIMITED_RANGE
from preprocess.media.decode import frame_times
from preprocess.media.deliver import write_film
from preprocess.media.errors import UnusableFilm
from preprocess.media.picture import read_picture
from preprocess.media.probe import FilmInfo, probe_film
from preprocess.media.sound import cut_sound
from preprocess.media.sync import measure_sound_shift
from storage.identity import JSON
from storage.store import StoreError

ORBIT_S = 4.0
"""Time of one turn of the camera around the head."""
ORBIT_YAW_RAD, ORBIT_PITCH_RAD = np.deg2rad(20.0), np.deg2rad(6.0)
"""How far it goes: what faces in films show, and a network has seen."""


class RenderPortrait(RenderStage):
    """A picture, a performance and a trained network in; a clip of the picture, moving, out."""

    name = "render-portrait"
    version = 4
    libraries = ("torch", "av", "opencv-python")

    def _render(self, work: Work) -> Result:
        shot = PortraitShot.model_validate(work.item.inputs["shot"])
        source = _crop_of(work)
        _, performance = faces_of(work, "performance")
        frames = _stretch(shot, performance)
        if not performance.ok_N[frames].any():
            detail = "no frame with a face in this stretch of the performance"
            return Result(Outcome.FAILED, "unrenderable_frames", detail)
        try:
            film = local_film(str(work.item.places["performance"]), work.folder / "performance")
            clip = _clip_of(film, performance, frames)
            sound = _sound(film, performance, frames, work.folder / "sound.mp4")
        except UnusableFilm as found:
            return unusable(found)
        delivered, pictures = work.folder / DELIVERED, BeforeAfter(len(frames))
        write_film(
            delivered,
            self._frames(work, shot, performance, frames, source, pictures),
            original=clip.info,
            pts=clip.pts,
            audio_from=sound,
            settings=self.config.delivery,
        )
        facts: dict[str, JSON] = {}
        if sound is not None:
            start_s = float(performance.pts_s_N[frames[0]] - performance.pts_s_N[0])
            heard = measure_sound_shift(delivered, film, reference_start_s=start_s)
            facts["av_offset_s"] = heard.shift_s
        held = int((~performance.ok_N[frames]).sum())
        counts = {"frames_total": len(frames), "frames_rendered": len(frames) - held}
        return Result(
            Outcome.OK,
            counts={**counts, "frames_kept": held},
            files={DELIVERED: delivered, **pictures.write(work.folder)},
            info=facts,
        )

    def _frames(
        self,
        work: Work,
        shot: PortraitShot,
        performance: FaceRows,
        frames: NDArray[np.int64],
        source: Rgb,
        pictures: BeforeAfter,
    ) -> Iterator[Rgb]:
        """Give the clip's frames; one without a face repeats the face before it."""
        portrait = self._animators.of(work).portrait(source)
        with_face = frames[performance.ok_N[frames]]
        camera_F25 = performance.camera_N25[with_face]
        if shot.pose is Pose.ORBIT:
            at_s_F = performance.pts_s_N[with_face] - performance.pts_s_N[frames[0]]
            camera_F25 = _orbit(at_s_F, camera_F25, str(work.item.inputs["camera_mode"]))
        faces = portrait.animate(performance.expression_NE[with_face], camera_F25)
        face = next(faces)
        everywhere_HW = np.ones((SIZE_PX, SIZE_PX), np.float32)
        seen = 0
        for f, row in enumerate(frames.tolist()):
            if performance.ok_N[row]:
                face = face if seen == 0 else next(faces)
                seen += 1
            out = self._marks.on(grown(face, SIZE_PX), everywhere_HW, f)
            pictures.see(f, source, out)
            work.report(f + 1, len(frames))
            yield out


def _orbit(
    at_s_F: NDArray[np.float64], camera_F25: NDArray[np.float32], camera_mode: str
) -> NDArray[np.float32]:
    """Return cameras that go slowly around the head, with the optics of those given."""
    turn_F = 2 * np.pi * at_s_F / ORBIT_S
    yaw_F, pitch_F = ORBIT_YAW_RAD * np.sin(turn_F), ORBIT_PITCH_RAD * np.cos(turn_F)
    optics_33 = camera_F25[0, 16:].reshape(3, 3).astype(np.float64)
    pivot_3 = PIVOT_EXACT if camera_mode == CameraMode.EXACT else PIVOT_EG3D
    return orbit_label(yaw_F, pitch_F, optics_33, pivot_3).astype(np.float32)


def _crop_of(work: Work) -> Rgb:
    """Return the crop of the portrait's face."""
    crop = work.ledger.fetch(commit_of(work, "portrait", Portrait.name).output(CROP), work.folder)
    source = read_picture(crop)
    if source is None:
        raise StoreError(f"the crop of a portrait, {crop.name}, cannot be read")
    return source


@dataclass(frozen=True)
class _Clip:
    """Form and time stamps of the clip to be written."""

    info: FilmInfo
    pts: list[int]


def _stretch(shot: PortraitShot, performance: FaceRows) -> NDArray[np.int64]:
    """Return the rows of the performance that the shot plays."""
    at_s = performance.pts_s_N - performance.pts_s_N[0] - shot.performance.start_s
    end_s = np.inf if shot.duration_s is None else shot.duration_s
    return np.flatnonzero((at_s >= 0) & (at_s < end_s))


def _clip_of(film: Path, performance: FaceRows, frames: NDArray[np.int64]) -> _Clip:
    """Return the performance's clock with the portrait's size and untagged, square pixels."""
    info = probe_film(film)
    _, stamps = frame_times(film)
    duration_s = float(np.ptp(performance.pts_s_N[frames])) + 1 / info.fps
    square = replace(
        info,
        width=SIZE_PX,
        height=SIZE_PX,
        stored_width=SIZE_PX,
        stored_height=SIZE_PX,
        rotation_deg=0,
        sar_num=1,
        sar_den=1,
        color_range=LIMITED_RANGE,
        color_primaries=BT709,
        color_transfer=BT709,
        color_space=BT709,
        start_s=float(performance.pts_s_N[frames[0]]),
        duration_s=duration_s,
    )
    return _Clip(square, [stamps[row] for row in frames])


def _sound(film: Path, performance: FaceRows, frames: NDArray[np.int64], out: Path) -> Path | None:
    if probe_film(film).audio is None:
        return None
    at_s = performance.pts_s_N[frames] - performance.pts_s_N[0]
    return cut_sound(film, out, start_s=float(at_s[0]), duration_s=float(np.ptp(at_s)) + 1)
