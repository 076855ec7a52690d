"""Stage 4 of pre-processing: coefficients, cameras and a judgement; the film's final tables."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.faces.models import (
    ClipFaces,
    FaceModelName,
    identity_of,
    memory_gib_of,
    open_face_model,
)
from pipeline.faces.rows import CLIPS, FRAMES
from pipeline.stage import Outcome, Resources, Result, Stage, Work
from pipeline.stages.crop import CROPS
from pipeline.stages.face_stretches import Row, Stretch, clip_id_of, spans_of, stretches
from pipeline.stages.ingest import MEZZANINE, TICKS
from pipeline.stages.landmarks import LANDMARKS
from preprocess.crop import Align, Alignment, CropBoxes, CropConfig
from preprocess.face3d.cameras import CameraMode, camera_labels, smooth_pose
from preprocess.landmarks.backend import Rgb
from preprocess.media.clips import ClipReader
from preprocess.outcomes import FrameOutcome
from preprocess.quality.scores import (
    FrameScores,
    QualityConfig,
    QualityReason,
    frame_reasons,
    judge_clip,
    judge_frames,
)
from storage.identity import JSON, plain
from storage.ledger import Commit
from storage.schemas import clips_schema, frames_schema, ticks_schema
from storage.tables import TableWriter, read_table, write_table

Frames = Callable[[Sequence[int]], Iterator[Rgb]]

_PICTURES = 16
"""Read at once from the full-size film."""


@dataclass(frozen=True)
class Face3DConfig:
    """Which coefficients and which camera a dataset carries, and what a frame must have."""

    face_model: FaceModelName = FaceModelName.MESH478
    camera_mode: CameraMode = CameraMode.EXACT
    crop: CropConfig = field(default_factory=CropConfig)
    """That of the crop stage: where the crop is smoothed, so is the pose (Spec 2.10.4)."""
    quality: QualityConfig = field(default_factory=QualityConfig)


class Face3D(Stage):
    """Landmarks and crops in; `frames` and `clips` tables out."""

    name = "face3d"
    version = 3
    needs = ("ingest", "landmarks", "crop")
    libraries = ("decord", "numpy", "pyarrow", "torch")

    config: Face3DConfig

    def __init__(self, config: Face3DConfig) -> None:
        super().__init__(config)
        self.resources = Resources(cpus=1, memory_gib=memory_gib_of(config.face_model))

    def identity(self) -> JSON:
        """Everything in the config, and the digests of the face model's files."""
        return {**plain(self.config), "face_model": identity_of(self.config.face_model)}

    def setup(self) -> None:
        """Load the face model."""
        self._model = open_face_model(self.config.face_model)

    def process(self, batch: Sequence[Work]) -> list[Result]:
        """Fit every kept span of each film."""
        return [self._tabulate(work) for work in batch]

    def _tabulate(self, work: Work) -> Result:
        commits = work.item.commits
        ticks, landmarks, crops = (
            work.ledger.fetch(commits[stage].output(name), work.folder)
            for stage, name in (("ingest", TICKS), ("landmarks", LANDMARKS), ("crop", CROPS))
        )
        pts_s = read_table(ticks, ticks_schema())["pts_s"].to_pylist()
        files = {name: work.folder / name for name in (FRAMES, CLIPS)}
        outcomes = TickOutcomes(len(pts_s))
        judged: dict[str, JudgedClip] = {}
        with TableWriter(files[FRAMES], frames_schema(self._model.widths)) as frames:
            for stretch in stretches(landmarks, crops, commits["crop"]):
                rows = [_plain_row(row, work.item.id, pts_s) for row in stretch.landmarks]
                if stretch.clip_id is not None:
                    judged[stretch.clip_id] = self._fit(stretch, rows, _pictures(work))
                outcomes.see(rows)
                frames.write(rows)
                work.report(rows[-1]["frame_index"] + 1, len(pts_s))
        clips = _clip_rows(work.item.id, commits["crop"], pts_s, judged)
        write_table(files[CLIPS], clips, clips_schema(self._model.widths))
        if not any(clip.reason is QualityReason.NONE for clip in judged.values()):
            reason = str(next(iter(judged.values())).reason)
            return Result(
                Outcome.FILTERED, reason, "no clip of it is good", outcomes.counts(), files
            )
        return Result(Outcome.OK, counts=outcomes.counts(), files=files)

    def _fit(self, stretch: Stretch, rows: list[Row], pictures: Frames) -> "JudgedClip":
        """Fit a clip and judge it; complete its rows of `frames`."""
        crops = stretch.crops
        ticks_T = np.array([crop["frame_index"] for crop in crops])
        alignment = Alignment(_stack(crops, "origin"), _stack(crops, "scale"))
        boxes = CropBoxes(_stack(crops, "box_centre"), _stack(crops, "box_side"))
        faces = _clip_faces(stretch, alignment, lambda: pictures(ticks_T.tolist()))
        fitted, further = self._model.fit(faces)
        scores = FrameScores(
            sharpness=_stack(crops, "sharpness"),
            occlusion=_stack(crops, "occlusion"),
            yaw_rad=fitted.angles_T3[:, 1],
            reprojection=fitted.reprojection_iod_T,
        )
        reason = judge_clip(scores, self.config.quality)
        outcomes = judge_frames(scores, self.config.quality)
        reasons = frame_reasons(scores, self.config.quality)
        if self.config.crop.align is Align.SMOOTHED:
            fitted = smooth_pose(fitted, ticks_T, self.config.crop.sigma_frames)
        cameras_T25 = camera_labels(fitted, alignment, boxes, self.config.camera_mode)
        for t, (row, found, crop) in enumerate(zip(rows, stretch.landmarks, crops, strict=True)):
            row |= {
                "clip_id": stretch.clip_id,
                "person": stretch.person,
                "clip_frame": crop["clip_frame"],
                "reprojection_px": fitted.reprojection_px_T[t],
                "reprojection_iod": fitted.reprojection_iod_T[t],
                "sharpness": crop["sharpness"],
                "occlusion": crop["occlusion"],
                "outcome": str(_within(reason, outcomes[t])),
                "reason": str(reasons[t]),
            }
            if row["outcome"] == FrameOutcome.OK:
                row |= {
                    "landmarks": found["landmarks"],
                    "crop_affine": crop["crop_affine"],
                    "identity": fitted.identity_I,
                    "expression": fitted.expression_TE[t],
                    "angles": fitted.angles_T3[t],
                    "translation": fitted.translation_T3[t],
                    "camera": cameras_T25[t],
                    **{name: _at(values, t) for name, values in further.items()},
                }
        return JudgedClip(reason, None if reason else fitted.identity_I)


@dataclass(frozen=True)
class JudgedClip:
    """What became of a clip: why it is filtered, or whose it is."""

    reason: QualityReason
    identity_I: Any


class TickOutcomes:
    """How each tick of a film ended, whatever number of faces it has."""

    _ORDER = tuple(FrameOutcome)

    def __init__(self, ticks: int) -> None:
        self._best_T = np.full(ticks, len(self._ORDER) - 1)

    def see(self, rows: Sequence[Row]) -> None:
        """Take in rows of `frames`."""
        for row in rows:
            rank = self._ORDER.index(FrameOutcome(row["outcome"]))
            tick = row["frame_index"]
            self._best_T[tick] = min(self._best_T[tick], rank)

    def counts(self) -> dict[str, int]:
        """Return the number of ticks by outcome; together they are all ticks."""
        ranks, ticks = np.unique(self._best_T, return_counts=True)
        return {
            str(self._ORDER[rank]): count
            for rank, count in zip(ranks.tolist(), ticks.tolist(), strict=True)
        }


def _clip_faces(
    stretch: Stretch, alignment: Alignment, pictures: Callable[[], Iterator[Rgb]]
) -> ClipFaces:
    found = stretch.landmarks
    points = "points5" if found[0]["landmarks"] is None else "landmarks"
    has_mesh = found[0]["mesh"] is not None
    return ClipFaces(
        points_TK2=_stack(found, points).reshape(len(found), -1, 2),
        mesh_TV3=_stack(found, "mesh").reshape(len(found), -1, 3) if has_mesh else None,
        alignment=alignment,
        pictures=pictures,
    )


def _pictures(work: Work) -> Frames:
    """Give the film's frames by tick; the mezzanine is fetched when a face model wants them."""

    def read(ticks: Sequence[int]) -> Iterator[Rgb]:
        mezzanine = work.folder / MEZZANINE
        if not mezzanine.exists():
            work.ledger.fetch(work.item.commits["ingest"].output(MEZZANINE), work.folder)
        reader = ClipReader(mezzanine)
        for start in range(0, len(ticks), _PICTURES):  # each call opens the film anew
            yield from reader.batch(ticks[start : start + _PICTURES])

    return read


def _within(reason: QualityReason, outcome: FrameOutcome) -> FrameOutcome:
    """Return how a frame ended, given why its clip is filtered."""
    return FrameOutcome.OUT_OF_RANGE if reason and outcome is FrameOutcome.OK else outcome


def _at(values: Any, frame: int) -> Any:
    """Return a frame's part of an array [T, ...]; a vector is the clip's, and each frame's."""
    return values[frame] if values.ndim > 1 else values


def _stack(rows: Sequence[Row], column: str) -> Any:
    return np.array([row[column] for row in rows], np.float64)


def _plain_row(found: Row, source_id: str, pts_s: Sequence[float]) -> Row:
    """Return the row of a tick that belongs to no clip."""
    outcome = found["outcome"]
    if outcome == FrameOutcome.OK:
        outcome = str(FrameOutcome.OUT_OF_RANGE)  # its span was filtered
    return {
        "source_id": source_id,
        "frame_index": found["frame_index"],
        "pts_s": pts_s[found["frame_index"]],
        "score": found["score"],
        "outcome": outcome,
        "reason": "",
    }


def _clip_rows(
    source_id: str, crop: Commit, pts_s: Sequence[float], judged: dict[str, JudgedClip]
) -> list[Row]:
    outputs = {output.name: output for output in crop.outputs}
    rows = []
    for number, span in enumerate(spans_of(crop)):
        clip_id = clip_id_of(crop, number)
        clip = outputs.get(span["clip"])
        reason = str(judged[clip_id].reason) if clip_id in judged else span["reason"]
        rows.append(
            {
                "clip_id": clip_id,
                "source_id": source_id,
                "person": span["person"],
                "shot": span["shot"],
                "first_frame": span["first_tick"],
                "last_frame": span["last_tick"],
                "frames": span["frames"],
                "first_pts_s": pts_s[span["first_tick"]],
                "last_pts_s": pts_s[span["last_tick"]],
                "face_px": span["face_px"],
                "clip_key": clip.key if clip else None,
                "clip_sha256": clip.sha256 if clip else None,
                "outcome": str(Outcome.FILTERED if reason else Outcome.OK),
                "reason": reason,
                "identity": judged[clip_id].identity_I if clip_id in judged else None,
            }
        )
    return rows
