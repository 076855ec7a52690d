"""Stage 3 of pre-processing: spans of one face, and a nose-centred clip of each."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.stage import Outcome, Resources, Result, Stage, Work
from pipeline.stages.ingest import MEZZANINE
from pipeline.stages.landmarks import LANDMARKS, TRACKS
from preprocess.crop import (
    CropConfig,
    align_points,
    crop_affines,
    crop_boxes,
    crop_centres,
    follow,
    warp_crop,
)
from preprocess.face3d.mesh478 import SHIPPED
from preprocess.landmarks.backend import FaceObservation, Rgb
from preprocess.media.clips import ClipWriter, read_in_order
from preprocess.outcomes import FrameOutcome
from preprocess.people.follow import Sighting, Tick
from preprocess.people.spans import Span, SpanConfig, cut_spans
from preprocess.quality.looks import ClipLooks
from storage.identity import JSON, digest_file, plain
from storage.schemas import crops_schema, landmarks_schema, tracks_schema
from storage.tables import TableWriter, read_rows, read_table

CROPS = "crops.parquet"


@dataclass(frozen=True)
class CropStageConfig:
    """Which stretches of film become clips, and how they are cut out."""

    spans: SpanConfig = field(default_factory=SpanConfig)
    crop: CropConfig = field(default_factory=CropConfig)
    fps: int = 25
    """Rate that is written into the clips; that of the mezzanine."""
    crf: float = 16
    """x264 quality of the clips: no visible difference to the mezzanine at 256 px."""


class Crop(Stage):
    """Mezzanine and landmarks in; a clip per kept span, and the origin of each frame, out."""

    name = "crop"
    version = 2
    needs = ("ingest", "landmarks")
    resources = Resources(cpus=1, memory_gib=1)
    libraries = ("av", "decord", "opencv-python")

    config: CropStageConfig

    def identity(self) -> JSON:
        """Everything in the config, and the mesh on which occlusion is measured."""
        return {**plain(self.config), "mesh_sha256": digest_file(SHIPPED)}

    def process(self, batch: Sequence[Work]) -> list[Result]:
        """Cut each film into spans and write their clips."""
        return [self._crop(work) for work in batch]

    def _crop(self, work: Work) -> Result:
        commits = work.item.commits
        table = work.ledger.fetch(commits["landmarks"].output(LANDMARKS), work.folder)
        tracks = _tracks(work.ledger.fetch(commits["landmarks"].output(TRACKS), work.folder))
        mezzanine = work.ledger.fetch(commits["ingest"].output(MEZZANINE), work.folder)
        ticks = commits["ingest"].counts["frames_out"]
        files: dict[str, Path] = {CROPS: work.folder / CROPS}
        spans: list[dict[str, JSON]] = []
        reasons: Counter[str] = Counter()
        with TableWriter(files[CROPS], crops_schema()) as crops:
            for number, span in enumerate(cut_spans(_ticks(table), self.config.spans)):
                reasons[f"spans_{span.reason or 'ok'}"] += 1
                clip = f"clip-{number:04d}.mp4" if span.is_ok else None
                spans.append(_describe(span, tracks[span.track], clip))
                if clip is not None:
                    files[clip] = work.folder / clip
                    crops.write(self._write_clip(mezzanine, span, number, files[clip]))
                work.report(span.last_tick + 1, ticks)
        if len(files) == 1:
            first_reason = spans[0]["reason"] if spans else "no_face"
            detail = "no stretch of it can be used"
            return Result(Outcome.FILTERED, str(first_reason), detail, counts=dict(reasons))
        return Result(Outcome.OK, counts=dict(reasons), files=files, info={"spans": [*spans]})

    def _write_clip(
        self, mezzanine: Path, span: Span, number: int, path: Path
    ) -> list[dict[str, Any]]:
        """Write the clip of a span; return one row per frame of it."""
        ticks_T = np.array([index for index, _ in span.faces])
        points_TK2 = np.stack([face.points5_px for _, face in span.faces])
        alignment = follow(align_points(points_TK2), ticks_T, self.config.crop)
        centre_T2 = crop_centres(alignment, points_TK2, ticks_T, self.config.crop)
        boxes = crop_boxes(centre_T2, alignment.scale_T, self.config.crop.align)
        size_px = self.config.crop.size_px
        affine_T33 = crop_affines(boxes, size_px)
        looks = ClipLooks()
        with ClipWriter(path, size_px, size_px, self.config.fps, crf=self.config.crf) as writer:
            for frame, (rgb, face) in enumerate(_pictures(mezzanine, span)):
                crop = warp_crop(rgb, affine_T33[frame], size_px)
                writer.write(crop)
                looks.see(crop, affine_T33[frame], face)
        columns = {
            "frame_index": ticks_T.tolist(),
            "span": [number] * len(ticks_T),
            "clip_frame": range(len(ticks_T)),
            "origin": alignment.origin_T2,
            "scale": alignment.scale_T,
            "box_centre": boxes.centre_T2,
            "box_side": boxes.side_T,
            "crop_affine": affine_T33,
            "sharpness": looks.sharpness(),
            "occlusion": looks.occlusion(),
        }
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _pictures(mezzanine: Path, span: Span) -> Iterator[tuple[Rgb, FaceObservation]]:
    """Give the span's frames with a face, and the face; those in gaps are passed over."""
    faces = dict(span.faces)
    frames = read_in_order(mezzanine, span.first_tick, span.last_tick)
    for tick, rgb in enumerate(frames, span.first_tick):
        if tick in faces:
            yield rgb, faces[tick]


def _describe(span: Span, track: Mapping[str, Any], clip: str | None) -> dict[str, JSON]:
    heights = [float(np.ptp(face.box_xyxy_px[[1, 3]])) for _, face in span.faces]
    return {
        "track": span.track,
        "person": track["person"],
        "shot": track["shot"],
        "first_tick": span.first_tick,
        "last_tick": span.last_tick,
        "frames": len(span.faces),
        "face_px": float(np.median(heights)),
        "clip": clip,
        "reason": str(span.reason),
    }


def _tracks(table: Path) -> dict[int, Mapping[str, Any]]:
    rows = read_table(table, tracks_schema()).to_pylist()
    return {row["track"]: row for row in rows}


def _ticks(table: Path) -> Iterator[Tick]:
    """Rows of the landmarks table as ticks again."""
    rows = read_rows(table, landmarks_schema())
    for index, sightings in groupby(rows, key=itemgetter("frame_index")):
        yield Tick(index, tuple(_sighting(row) for row in sightings))


def _sighting(row: dict[str, Any]) -> Sighting:
    if row["track"] is None:
        return Sighting(FrameOutcome(row["outcome"]))
    face = FaceObservation(
        box_xyxy_px=_points(row["box"], 4),
        points5_px=_points(row["points5"], 5, 2),
        landmarks68_px=None,  # cropping needs none
        mesh_px=None if row["mesh"] is None else _points(row["mesh"], -1, 3),
        score=row["score"],
    )
    return Sighting(FrameOutcome(row["outcome"]), row["track"], face)


def _points(values: Any, *shape: int) -> np.ndarray[Any, Any]:
    return np.asarray(values, np.float64).reshape(shape)
