"""Dubbing of one shot: the actor's film with the expressions of a performance (Spec 2.10).

Shapes: F frames of the film, R of them rendered, E expression coefficients.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.inference.animator import Animator
from model.inference.paste_back import Tone, apply_tone, enlargement, face_mask, measure_tone, paste
from model.inference.retime import retime_expression
from model.inference.visible_mark import with_visible_mark
from pipeline.faces.rows import FaceRows
from pipeline.films import local_film, unusable
from pipeline.rendering.job_file import FilmShot, Policy
from pipeline.reports.pictures import spread
from pipeline.stage import Outcome, Resources, Result, Stage, Work
from pipeline.stages.rendering import (
    DELIVERED,
    STRIP,
    Animators,
    BeforeAfter,
    RenderConfig,
    Rgb,
    commit_of,
    differences_as_text,
    faces_of,
    grown,
)
from preprocess.crop import transform
from preprocess.media.clips import ClipReader
from preprocess.media.decode import decode_film, frame_times
from preprocess.media.deliver import write_film
from preprocess.media.errors import UnusableFilm
from preprocess.media.probe import FilmInfo, probe_film
from preprocess.media.sound import cut_sound
from preprocess.media.verify import verify_delivery
from preprocess.source_frame import choose_source_frame
from storage.identity import JSON

_TONE_FRAMES = 8


class RenderFilm(Stage):
    """A film, a performance and a trained network in; the delivered film out."""

    name = "render-film"
    version = 3
    libraries = ("torch", "av", "opencv-python")

    config: RenderConfig

    def __init__(self, config: RenderConfig) -> None:
        super().__init__(config)
        self.resources = Resources(cpus=2, gpus=config.gpus, memory_gib=3)

    def identity(self) -> JSON:
        """How shots are rendered and written."""
        return self.config.identity()

    def setup(self) -> None:
        """Prepare for the network, which comes with the first shot."""
        self._animators = Animators(self.config.batch)

    def process(self, batch: Sequence[Work]) -> list[Result]:
        """Render each shot."""
        return [self._render(work) for work in batch]

    def _render(self, work: Work) -> Result:
        shot = FilmShot.model_validate(work.item.inputs["shot"])
        try:
            film = local_film(str(work.item.places["film"]), work.folder)
            plan = _plan(work, shot, film)
            sound = _sound(work, shot, film, plan)
        except UnusableFilm as found:
            return unusable(found)
        total, rendered = len(plan.pts), int(plan.render_F.sum())
        counts = {"frames_total": total, "frames_rendered": rendered}
        if not rendered or (rendered < total and shot.policy is Policy.FAIL_SHOT):
            detail = f"{total - rendered} of {total} frames lack a face or an expression"
            counts["frames_failed"] = total - rendered
            return Result(Outcome.FAILED, "unrenderable_frames", detail, counts)
        counts["frames_kept"] = total - rendered
        delivered, pictures = work.folder / DELIVERED, BeforeAfter(total)
        crops = _FaceCrops(work, plan)
        source = self._choose_source(plan.actor)
        write_film(
            delivered,
            self._frames(work, film, shot.policy, plan, crops, source, pictures),
            original=plan.info,
            pts=plan.pts,
            audio_from=sound,
            settings=self.config.delivery,
        )
        wrong = verify_delivery(film, delivered, audio_expected=sound is not None)
        if wrong:
            return Result(Outcome.FAILED, "delivery_differs", differences_as_text(wrong), counts)
        return Result(
            Outcome.OK,
            counts=counts,
            files={DELIVERED: delivered, STRIP: pictures.write(work.folder / STRIP)},
            info={
                "source_frame": source,
                "enlargement": _enlargement(plan, crops, self._animators.of(work).image_px),
            },
        )

    def _choose_source(self, actor: FaceRows) -> int:
        with_face = np.flatnonzero(actor.ok_N)
        chosen = choose_source_frame(
            actor.angles_N3[with_face],
            actor.sharpness_N[with_face],
            self.config.source,
            self.config.seed,
        )
        return int(with_face[chosen])

    def _frames(
        self,
        work: Work,
        film: Path,
        policy: Policy,
        plan: "_Plan",
        crops: "_FaceCrops",
        source: int,
        pictures: BeforeAfter,
    ) -> Iterator[Rgb]:
        """Give the delivered frames, one for each of the film's, in order."""
        animator = self._animators.of(work)
        animator.set_source(crops[source])
        tone = _steady_tone(animator, plan, crops)
        faces = animator.animate(plan.exp_FE[plan.render_F], plan.actor.camera_N25[plan.render_F])
        last: Rgb | None = None
        for f, frame in enumerate(decode_film(film)):
            out = frame.rgb
            if plan.render_F[f]:
                face = apply_tone(grown(next(faces), crops.size_px), tone)
                out = last = paste(out, face, plan.actor.affine_N33[f], crops.mask(f))
            elif policy is Policy.HOLD and last is not None:
                out = last
            if self.config.visible_mark:
                out = with_visible_mark(out)
            pictures.see(f, frame.rgb, out)
            work.report(f + 1, len(plan.pts))
            yield out


@dataclass(frozen=True)
class _Plan:
    """What is known of a shot before its first frame is rendered."""

    info: FilmInfo
    pts: list[int]
    clip_keys: dict[str, str]
    actor: FaceRows
    exp_FE: NDArray[np.float32]
    render_F: NDArray[np.bool_]


def _plan(work: Work, shot: FilmShot, film: Path) -> _Plan:
    clip_keys, actor = faces_of(work, "film")
    _, performer = faces_of(work, "performance")
    _, pts = frame_times(film)
    if len(pts) != len(actor):
        raise RuntimeError(f"the film has {len(pts)} frames, and {len(actor)} rows speak of it")
    at_s_F = performer.pts_s_N[0] + shot.performance.start_s + actor.pts_s_N - actor.pts_s_N[0]
    seen = performer.ok_N
    exp_FE, known_F = retime_expression(
        performer.pts_s_N[seen], performer.expression_NE[seen], at_s_F
    )
    return _Plan(probe_film(film), pts, clip_keys, actor, exp_FE, actor.ok_N & known_F)


def _sound(work: Work, shot: FilmShot, film: Path, plan: _Plan) -> Path | None:
    """Return the file whose sound is delivered; None where the chosen one is silent."""
    if shot.audio == "film":
        return film if plan.info.audio is not None else None
    performance = local_film(str(work.item.places["performance"]), work.folder / "performance")
    if probe_film(performance).audio is None:
        return None
    actor = plan.actor
    return cut_sound(
        performance,
        work.folder / "sound.mp4",
        start_s=shot.performance.start_s,
        duration_s=float(actor.pts_s_N[-1] - actor.pts_s_N[0]) + 1,
    )


class _FaceCrops:
    """The film's own crops around the face by frame, and the mask of the face in each."""

    def __init__(self, work: Work, plan: "_Plan") -> None:
        self._actor = plan.actor
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


def _steady_tone(animator: Animator, plan: _Plan, crops: _FaceCrops) -> Tone:
    """Return one change of tone for the whole shot: measured per frame it would flicker."""
    frames = np.flatnonzero(plan.render_F)
    some = frames[spread(len(frames), _TONE_FRAMES)]
    faces = animator.animate(plan.exp_FE[some], plan.actor.camera_N25[some])
    tones = [
        measure_tone(grown(face, crops.size_px), crops[f], crops.mask(f))
        for f, face in zip(some.tolist(), faces, strict=True)
    ]
    scale, offset = (
        np.mean([getattr(tone, part) for tone in tones], axis=0) for part in ("scale", "offset")
    )
    return Tone(tuple(scale.tolist()), tuple(offset.tolist()))


def _enlargement(plan: _Plan, crops: _FaceCrops, rendered_px: int) -> float:
    """Return film px per rendered px, the largest of the shot."""
    affines = plan.actor.affine_N33[plan.render_F]
    return max(enlargement(affine, crops.size_px, rendered_px) for affine in affines)
