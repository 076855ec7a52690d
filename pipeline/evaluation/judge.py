"""Pairs of an evaluation, one after the other: rendered, measured, compared (Spec 2.8).

Whatever is compared, a generated frame, a copied source or a driving frame, is measured from a
picture of the network's size: so the detector's noise, and what the size costs, count alike.

Shape suffixes: T frames, H, W, C picture.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.evaluation.baseline import copies_of
from model.evaluation.metrics import Bytes
from model.evaluation.protocol import Pair
from model.evaluation.reenactment import (
    MeasuredFrames,
    Values,
    cross_identity_metrics,
    of_the_film,
    same_identity_metrics,
)
from model.inference.animator import Animator
from model.training.data import FrameBank
from model.training.perceptual import Perceptual
from pipeline.evaluation.clips import JudgedClip
from pipeline.evaluation.summary import Row
from pipeline.faces.measured import FaceMeter
from pipeline.reports.pixels import labelled_grid, png
from preprocess.outcomes import FrameOutcome

_CACHE_BYTES = 512 * 2**20
_CELL_PX = 192


@dataclass(frozen=True, eq=False)
class _RealFrames:
    """Frames of a film, measured; their pictures are left to the bank."""

    measured: MeasuredFrames
    outcomes: Sequence[FrameOutcome]


class PairJudge:
    """Judges one network; real frames are measured once, however many pairs they are in."""

    def __init__(
        self,
        judged: Sequence[JudgedClip],
        person_of: Mapping[str, str],
        animator: Animator,
        meter: FaceMeter,
        perceptual: Perceptual | None,
    ) -> None:
        self._judged = {one.clip.clip_id: one for one in judged}
        self._index = {clip_id: index for index, clip_id in enumerate(self._judged)}
        self._person_of = person_of
        self._animator = animator
        self._meter = meter
        self._perceptual = perceptual
        self._bank = FrameBank([one.clip for one in judged], animator.image_px, _CACHE_BYTES)
        self._real: dict[tuple[str, tuple[int, ...]], _RealFrames] = {}

    def rows(self, pair: Pair) -> Iterator[Row]:
        """Render the driving frames of a pair; give a row of the evaluation's table for each."""
        source, of_source = self._measured(pair.source_clip, (pair.source_frame,))
        driving, of_driver = self._measured(pair.driving_clip, pair.driving_frames)
        images_THWC = self._render(pair, pair.driving_frames)
        seen = self._meter.look(images_THWC)
        generated = self._meter.measured(images_THWC, seen)
        columns = {
            **self._compared(pair, generated, driving, source),
            **_named(
                "copy_", self._compared(pair, copies_of(source, len(driving)), driving, source)
            ),
            **_named("driver_", of_the_film(driving, source, pair.driving_frames)),
        }
        if pair.protocol == "cross":  # where the driver's film stands still, the source's need not
            del columns["driver_flicker"]
        for t, frame in enumerate(pair.driving_frames):
            outcomes = {
                "source": of_source[0],
                "driving": of_driver[t],
                "generated": seen[t].outcome,
            }
            yield {
                "protocol": pair.protocol,
                "person": self._person_of[pair.driving_clip],
                "source_clip": pair.source_clip,
                "source_frame": pair.source_frame,
                "driving_clip": pair.driving_clip,
                "driving_frame": frame,
                "seen": str(self._judged[pair.driving_clip].seen(frame)),
                **{name: _at(values, t) for name, values in columns.items()},
                "reason": _reason(outcomes),
            }

    def picture(self, rows: Sequence[Row], metric: str) -> bytes:
        """Return a PNG: source, driving and generated frame of the best, middle and worst row.

        Ranked by a metric for which less is better; a row that could not be measured comes last.
        """
        ranked = sorted((row for row in rows if not row["reason"]), key=lambda row: row[metric])
        chosen = {}
        if ranked:
            places = {"best": 0, "median": len(ranked) // 2, "worst": len(ranked) - 1}
            chosen = {
                f"{name}: {ranked[place][metric]:.3g}": ranked[place]
                for name, place in places.items()
            }
        if lacking := [row for row in rows if row["reason"]]:
            chosen["not measured"] = lacking[0]
        shown = {name: self._strip(row) for name, row in chosen.items()}
        return png(labelled_grid(shown, ("source", "driving", "generated"), _CELL_PX))

    def _strip(self, row: Row) -> list[NDArray[np.uint8]]:
        driving = (row["driving_frame"],)
        pair = Pair(
            row["protocol"], row["source_clip"], row["source_frame"], row["driving_clip"], driving
        )
        return [
            self._images(pair.source_clip, [pair.source_frame])[0],
            self._images(pair.driving_clip, driving)[0],
            self._render(pair, driving)[0],
        ]

    def _render(self, pair: Pair, frames: Sequence[int]) -> Bytes:
        portrait = self._animator.portrait(self._images(pair.source_clip, [pair.source_frame])[0])
        clip, at = self._judged[pair.driving_clip].clip, list(frames)
        return np.stack([*portrait.animate(clip.expression_TE[at], clip.camera_T25[at])])

    def _compared(
        self, pair: Pair, frames: MeasuredFrames, driving: MeasuredFrames, source: MeasuredFrames
    ) -> Values:
        if pair.protocol == "cross":
            return cross_identity_metrics(frames, driving, source, pair.driving_frames)
        return same_identity_metrics(frames, driving, source, pair.driving_frames, self._perceptual)

    def _measured(
        self, clip_id: str, frames: tuple[int, ...]
    ) -> tuple[MeasuredFrames, Sequence[FrameOutcome]]:
        """Measure frames of a film as generated ones are: by themselves, fitted together.

        Also a source, one frame, is fitted by itself: so a network that only gives back its source
        scores as copying does.
        """
        images_THWC = self._images(clip_id, frames)
        if (clip_id, frames) not in self._real:
            seen = self._meter.look(images_THWC)
            measured = replace(self._meter.measured(images_THWC, seen), images_THWC=images_THWC[:0])
            self._real[clip_id, frames] = _RealFrames(measured, [one.outcome for one in seen])
        real = self._real[clip_id, frames]
        return replace(real.measured, images_THWC=images_THWC), real.outcomes

    def _images(self, clip_id: str, frames: Sequence[int]) -> Bytes:
        return self._bank.images(self._index[clip_id], list(frames))


def _named(prefix: str, values: Values) -> dict[str, Any]:
    return {prefix + name: of_frames for name, of_frames in values.items()}


def _at(values: Any, frame: int) -> float | None:
    """Return a value of a row: None where the metric does not apply to the frame."""
    value = values[frame]
    return None if value is np.ma.masked else float(value)


def _reason(outcomes: Mapping[str, FrameOutcome]) -> str:
    lacking = [f"{how} in {who}" for who, how in outcomes.items() if how is not FrameOutcome.OK]
    return "; ".join(lacking)
