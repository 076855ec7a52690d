"""Stage 3 of pre-processing: spans of one face, and a nose-centred clip of each."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.stage import Outcome, Resources, Result, Stage, Work
from pipeline.stages.ingest import MEZZANINE
from pipeline.stages.landmarks import LANDMARKS
from preprocess.crop import (
    Alignment,
    CropBoxes,
    CropConfig,
    align_points,
    crop_affines,
    crop_boxes,
    follow,
    warp_crop,
)
from preprocess.landmarks.backend import FaceObservation
from preprocess.media.clips import ClipReader, ClipWriter
from preprocess.outcomes import FrameOutcome
from preprocess.source_frame import sharpness
from preprocess.tracks import Span, Tick, TrackConfig, cut_spans
from storage.identity import JSON, plain
from storage.schemas import crops_schema, landmarks_schema
from storage.tables import TableWriter, read_rows

CROPS = "crops.parquet"


@dataclass(frozen=True)
class CropStageConfig:
    """Which stretches of film become clips, and how they are cut out."""

    spans: TrackConfig = field(default_factory=TrackConfig)
    crop: CropConfig = field(default_factory=CropConfig)
    fps: int = 25
    """Rate that is written into the clips; that of the mezzanine."""
    crf: float = 16
    """x264 quality of the clips: no visible difference to the mezzanine at 256 px."""


class Crop(Stage):
    """Mezzanine and landmarks in; a clip per kept span, and the origin of each frame, out."""

    name = "crop"
    version = 1
    needs = ("ingest", "landmarks")
    resources = Resources(cpus=1, memory_gib=1)
    libraries = ("av", "decord", "opencv-python")

    config: CropStageConfig

    def identity(self) -> JSON:
        """Everything in the config."""
        return plain(self.config)

    def process(self, batch: Sequence[Work]) -> list[Result]:
        """Cut each film into spans and write their clips."""
        return [self._crop(work) for work in batch]

    def _crop(self, work: Work) -> Result:
        commits = work.item.commits
        table = work.ledger.fetch(commits["landmarks"].output(LANDMARKS), work.folder)
        mezzanine = work.ledger.fetch(commits["ingest"].output(MEZZANINE), work.folder)
        reader = ClipReader(mezzanine)
        files: dict[str, Path] = {CROPS: work.folder / CROPS}
        spans: list[dict[str, JSON]] = []
        reasons: Counter[str] = Counter()
        with TableWriter(files[CROPS], crops_schema()) as crops:
            for number, span in enumerate(cut_spans(_ticks(table), self.config.spans)):
                reasons[f"spans_{span.reason or 'ok'}"] += 1
                clip = f"clip-{number:04d}.mp4" if span.ok else None
                spans.append(_describe(span, clip))
                if clip is not None:
                    files[clip] = work.folder / clip
                    crops.write(self._write_clip(reader, span, number, files[clip]))
                work.report(span.last_tick + 1, len(reader))
        if len(files) == 1:
            first_reason = spans[0]["reason"] if spans else "no_face"
            detail = "no stretch of it can be used"
            return Result(Outcome.FILTERED, str(first_reason), detail, counts=dict(reasons))
        return Result(Outcome.OK, counts=dict(reasons), files=files, info={"spans": [*spans]})

    def _write_clip(
        self, reader: ClipReader, span: Span, number: int, path: Path
    ) -> list[dict[str, Any]]:
        """Write the clip of a span; return one row per frame of it."""
        ticks_T = np.array([index for index, _ in span.faces])
        points_TK2 = np.stack([face.points5_px for _, face in span.faces])
        alignment = follow(align_points(points_TK2), ticks_T, self.config.crop)
        boxes = crop_boxes(alignment, self.config.crop)
        size_px = self.config.crop.size_px
        affine_T33 = crop_affines(boxes, size_px)
        rows = []
        with ClipWriter(path, size_px, size_px, self.config.fps, crf=self.config.crf) as writer:
            for frame, tick in enumerate(ticks_T.tolist()):
                crop = warp_crop(reader[tick], affine_T33[frame], size_px)
                writer.write(crop)
                rows.append(_row(tick, number, frame, alignment, boxes, affine_T33, crop))
        return rows


def _row(
    tick: int,
    span: int,
    frame: int,
    alignment: Alignment,
    boxes: CropBoxes,
    affine_T33: np.ndarray[Any, Any],
    crop: np.ndarray[Any, Any],
) -> dict[str, Any]:
    return {
        "frame_index": tick,
        "span": span,
        "clip_frame": frame,
        "origin": alignment.origin_T2[frame],
        "scale": alignment.scale_T[frame],
        "box_centre": boxes.centre_T2[frame],
        "box_side": boxes.side_T[frame],
        "crop_affine": affine_T33[frame],
        "sharpness": sharpness(crop),
    }


def _describe(span: Span, clip: str | None) -> dict[str, JSON]:
    heights = [float(np.ptp(face.box_xyxy_px[[1, 3]])) for _, face in span.faces]
    return {
        "first_tick": span.first_tick,
        "last_tick": span.last_tick,
        "frames": len(span.faces),
        "face_px": float(np.median(heights)),
        "clip": clip,
        "reason": str(span.reason),
    }


def _ticks(table: Path) -> Iterator[Tick]:
    """Rows of the landmarks table as ticks again, without the mesh: cropping needs none."""
    columns = ["frame_index", "outcome", "score", "box", "points5", "landmarks"]
    for row in read_rows(table, landmarks_schema(), columns):
        face = None
        if row["box"] is not None:
            face = FaceObservation(
                box_xyxy_px=np.asarray(row["box"], np.float64),
                points5_px=np.asarray(row["points5"], np.float64).reshape(5, 2),
                landmarks68_px=np.asarray(row["landmarks"], np.float64).reshape(68, 2),
                mesh_px=None,
                score=row["score"],
            )
        yield Tick(row["frame_index"], FrameOutcome(row["outcome"]), face)
