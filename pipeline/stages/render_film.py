"""Dubbing of one shot: the actor's film with the expressions of a performance (Spec 2.10).

Shapes: F frames of the shot, E expression coefficients.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.inference.animator import AnimatedPortrait
from model.inference.paste_back import (
    Tone,
    apply_tone,
    enlargement,
    measure_tone,
    paste_with_mask,
)
from pipeline.films import local_film, unusable
from pipeline.rendering.job import Cuts, FilmShot, Policy
from pipeline.reports.pictures import spread
from pipeline.stage import Outcome, Result, Work
from pipeline.stages.film_shot import FaceCrops, ShotPlan, ShotSound, plan_shot, sound_of
from pipeline.stages.rendering import (
    DELIVERED,
    BeforeAfter,
    RenderStage,
    Rgb,
    grown,
)
from preprocess.media.deliver import write_film
from preprocess.media.errors import UnusableFilm
from preprocess.media.stretch import EmptyStretch, decode_stretch
from preprocess.media.sync import measure_sound_shift
from preprocess.media.verify import verify_delivery
from storage.identity import JSON

MAX_SOUND_SHIFT_S = 0.01
"""A delivered film whose sound comes earlier or later by more than that is not in step."""
_TONE_FRAMES = 8


class RenderFilm(RenderStage):
    """A film, a performance and a trained network in; the delivered film out."""

    name = "render-film"
    version = 5
    libraries = ("torch", "av", "opencv-python", "scipy")

    def _render(self, work: Work) -> Result:
        shot = FilmShot.model_validate(work.item.inputs["shot"])
        try:
            film = local_film(str(work.item.places["film"]), work.folder)
            plan = plan_shot(work, shot, film, self.config.smoothing)
            sound = sound_of(work, shot, film, plan)
        except UnusableFilm as found:
            return unusable(found)
        except EmptyStretch as found:
            return Result(Outcome.FAILED, "empty_stretch", str(found))
        total, rendered = len(plan.stretch.pts), int(plan.render_F.sum())
        counts = {"frames_total": total, "frames_rendered": rendered}
        # A take without the actor is no mistake where the film's cuts say what a shot is.
        may_be_empty = shot.cuts is Cuts.AUTO and shot.policy is not Policy.FAIL_SHOT
        if (not rendered and not may_be_empty) or (
            rendered < total and shot.policy is Policy.FAIL_SHOT
        ):
            detail = f"{total - rendered} of {total} frames lack a face or an expression"
            counts["frames_failed"] = total - rendered
            return Result(Outcome.FAILED, "unrenderable_frames", detail, counts)
        counts["frames_kept"] = total - rendered
        delivered, pictures = work.folder / DELIVERED, BeforeAfter(total)
        clock = _Clock()
        facts: dict[str, JSON] = {}
        faces = self._faces(work, plan, clock, facts) if rendered else iter(())
        write_film(
            delivered,
            self._frames(work, film, shot.policy, plan, faces, pictures),
            original=plan.info,
            pts=plan.stretch.pts,
            end_pts=None if plan.is_whole else plan.stretch.end_pts,
            audio_from=sound.file if sound else None,
            settings=self.config.delivery,
        )
        if wrong := _verify(film, delivered, plan, sound, facts):
            return Result(Outcome.FAILED, "delivery_differs", wrong, counts)
        return Result(
            Outcome.OK,
            counts=counts,
            files={DELIVERED: delivered, **pictures.write(work.folder)},
            info={**facts, "network_s": round(clock.network_s, 3)},
        )

    def _faces(
        self, work: Work, plan: ShotPlan, clock: "_Clock", facts: dict[str, JSON]
    ) -> "Iterator[_Face]":
        """Give each frame's rendered face, in the film's tone; `facts` are told of the shot."""
        animator, crops = self._animators.of(work), FaceCrops(work, plan)
        source, why = crops.source(self.config.source, self.config.seed)
        facts["source"] = why
        facts["enlargement"] = _enlargement(plan, crops, animator.image_px)
        portrait = animator.portrait(crops[source])
        tone = _steady_tone(portrait, plan, crops)
        shown = np.flatnonzero(plan.render_F)
        pictures = portrait.animate(plan.exp_FE[shown], plan.actor.camera_N25[shown])
        for f in shown.tolist():
            with clock:
                picture = next(pictures)
            face = apply_tone(grown(picture, crops.size_px), tone)
            yield _Face(face, plan.actor.affine_N33[f], crops.mask(f))

    def _frames(
        self,
        work: Work,
        film: Path,
        policy: Policy,
        plan: ShotPlan,
        faces: "Iterator[_Face]",
        pictures: BeforeAfter,
    ) -> Iterator[Rgb]:
        """Give the delivered frames, one for each of the film's, in order."""
        last: tuple[Rgb, NDArray[np.float32]] | None = None
        for f, frame in enumerate(decode_stretch(film, plan.stretch)):
            out, where_HW = frame.rgb, None
            if plan.render_F[f]:
                face = next(faces)
                out, where_HW = last = paste_with_mask(out, face.rgb, face.affine_33, face.mask_HW)
            elif policy is Policy.HOLD and last is not None:
                out, where_HW = last
            out = self._marks.on(out, where_HW, f)
            pictures.see(f, frame.rgb, out)
            work.report(f + 1, len(plan.stretch.pts))
            yield out


@dataclass(frozen=True, eq=False)
class _Face:
    """A rendered crop [size, size, 3], where it goes, and how far it covers the film."""

    rgb: Rgb
    affine_33: NDArray[np.float64]
    mask_HW: NDArray[np.float32]


class _Clock:
    """Counts the seconds that are spent waiting for the network alone."""

    network_s = 0.0

    def __enter__(self) -> None:
        self._began_s = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.network_s += time.monotonic() - self._began_s


def _steady_tone(portrait: AnimatedPortrait, plan: ShotPlan, crops: FaceCrops) -> Tone:
    """Return one change of tone for the whole shot: measured per frame it would flicker."""
    frames = np.flatnonzero(plan.render_F)
    some = frames[spread(len(frames), _TONE_FRAMES)]
    faces = portrait.animate(plan.exp_FE[some], plan.actor.camera_N25[some])
    tones = [
        measure_tone(grown(face, crops.size_px), crops[f], crops.mask(f) * crops.shown(f))
        for f, face in zip(some.tolist(), faces, strict=True)
    ]
    scale, offset = (
        np.mean([getattr(tone, part) for tone in tones], axis=0) for part in ("scale", "offset")
    )
    return Tone(tuple(scale.tolist()), tuple(offset.tolist()))


def _enlargement(plan: ShotPlan, crops: FaceCrops, rendered_px: int) -> float:
    """Return film px per rendered px, the largest of the shot."""
    affines = plan.actor.affine_N33[plan.render_F]
    return max(enlargement(affine, crops.size_px, rendered_px) for affine in affines)


def _verify(
    film: Path, delivered: Path, plan: ShotPlan, sound: ShotSound | None, facts: dict[str, JSON]
) -> str:
    """Return in what the delivered file departs from what it must be; "" where in nothing.

    Adds `av_offset_s` to the facts, where the sound tells one.
    """
    stretch = None if plan.is_whole else plan.stretch
    wrong = [
        f"{found.what} {found.delivered} instead of {found.original}"
        for found in verify_delivery(
            film, delivered, audio_expected=sound is not None, stretch=stretch
        )
    ]
    if sound and not wrong:
        heard = measure_sound_shift(
            delivered, sound.original, reference_start_s=sound.original_start_s
        )
        facts["av_offset_s"] = heard.shift_s
        if heard.shift_s is not None and heard.spread_s is not None:
            worst_s = abs(heard.shift_s) + heard.spread_s
            if worst_s > MAX_SOUND_SHIFT_S:
                wrong.append(f"its sound is up to {1000 * worst_s:.0f} ms out of step")
    return "; ".join(wrong)
