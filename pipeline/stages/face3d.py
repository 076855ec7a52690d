"""Stage 4 of pre-processing: coefficients and cameras, and with them the film's final tables."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.face_rows import CLIPS, FRAMES
from pipeline.stage import Outcome, Resources, Result, Stage, Work
from pipeline.stages.crop import CROPS
from pipeline.stages.ingest import TICKS
from pipeline.stages.landmarks import LANDMARKS
from preprocess.crop import Align, Alignment, CropBoxes, CropConfig
from preprocess.face3d.cameras import CameraMode, camera_labels, smooth_pose
from preprocess.face3d.mesh478 import SHIPPED, fit_clip, read_mesh478
from preprocess.outcomes import FrameOutcome
from storage.identity import JSON, digest, digest_file, plain
from storage.ledger import Commit
from storage.schemas import (
    FaceWidths,
    clips_schema,
    crops_schema,
    frames_schema,
    landmarks_schema,
    ticks_schema,
)
from storage.tables import TableWriter, read_rows, read_table, write_table

Row = dict[str, Any]

_WRITE_ROWS = 1024


@dataclass(frozen=True)
class Face3DConfig:
    """Which camera a dataset carries."""

    camera_mode: CameraMode = CameraMode.EXACT
    crop: CropConfig = field(default_factory=CropConfig)
    """That of the crop stage: where the crop is smoothed, so is the pose (Spec 2.10.4)."""


def face_widths() -> FaceWidths:
    """Return the widths of the shipped face model's coefficients."""
    face = read_mesh478().face
    return FaceWidths("mesh478", len(face.identity_IV3), len(face.expression_EV3), 0, 0)


class Face3D(Stage):
    """Landmarks and crops in; `frames` and `clips` tables out."""

    name = "face3d"
    version = 1
    needs = ("ingest", "landmarks", "crop")
    resources = Resources(cpus=1, memory_gib=1)
    libraries = ("numpy", "pyarrow")

    config: Face3DConfig

    def identity(self) -> JSON:
        """Camera, smoothing, and the digest of the face model."""
        return {**plain(self.config), "face_model_sha256": digest_file(SHIPPED)}

    def setup(self) -> None:
        """Load the face model."""
        self._model = read_mesh478()
        self._widths = face_widths()

    def process(self, batch: Sequence[Work]) -> list[Result]:
        """Fit every kept span of each film."""
        return [self._tabulate(work) for work in batch]

    def _tabulate(self, work: Work) -> Result:
        commits = work.item.commits
        tables = {
            name: work.ledger.fetch(commits[stage].output(name), work.folder)
            for stage, name in (("ingest", TICKS), ("landmarks", LANDMARKS), ("crop", CROPS))
        }
        pts_s = read_table(tables[TICKS], ticks_schema())["pts_s"].to_pylist()
        files = {name: work.folder / name for name in (FRAMES, CLIPS)}
        outcomes: Counter[str] = Counter()
        identities: dict[str, Any] = {}
        with TableWriter(files[FRAMES], frames_schema(self._widths)) as frames:
            for stretch in _stretches(tables, commits["crop"]):
                identity, rows = self._rows(stretch, work.item.id, pts_s)
                if stretch.clip_id is not None:
                    identities[stretch.clip_id] = identity
                outcomes.update(row["outcome"] for row in rows)
                frames.write(rows)
                work.report(rows[-1]["frame_index"] + 1, len(pts_s))
        clips = _clip_rows(work.item.id, commits["crop"], pts_s, identities)
        write_table(files[CLIPS], clips, clips_schema(self._widths))
        return Result(Outcome.OK, counts=dict(outcomes), files=files)

    def _rows(
        self, stretch: "_Stretch", source_id: str, pts_s: Sequence[float]
    ) -> tuple[Any, list[Row]]:
        """Return (identity, rows of `frames`) of one stretch of film; identity only for a clip."""
        plain = [_plain_row(row, source_id, pts_s) for row in stretch.landmarks]
        if stretch.clip_id is None:
            return None, plain
        faces = [
            (row, landmarks)
            for row, landmarks in zip(plain, stretch.landmarks, strict=True)
            if landmarks["mesh"] is not None
        ]
        crops = stretch.crops
        meshes_TV3 = np.stack([np.reshape(found["mesh"], (-1, 3)) for _, found in faces])
        ticks_T = np.array([crop["frame_index"] for crop in crops])
        alignment = Alignment(_stack(crops, "origin"), _stack(crops, "scale"))
        boxes = CropBoxes(_stack(crops, "box_centre"), _stack(crops, "box_side"))
        fitted = fit_clip(self._model, meshes_TV3.astype(np.float64), alignment)
        if self.config.crop.align is Align.SMOOTHED:
            fitted = smooth_pose(fitted, ticks_T, self.config.crop.sigma_frames)
        cameras_T25 = camera_labels(fitted, alignment, boxes, self.config.camera_mode)
        for t, ((row, found), crop) in enumerate(zip(faces, crops, strict=True)):
            row |= {
                "clip_id": stretch.clip_id,
                "clip_frame": crop["clip_frame"],
                "landmarks": found["landmarks"],
                "crop_affine": crop["crop_affine"],
                "identity": fitted.identity_I,
                "expression": fitted.expression_TE[t],
                "angles": fitted.angles_T3[t],
                "translation": fitted.translation_T3[t],
                "camera": cameras_T25[t],
                "reprojection_px": fitted.reprojection_px_T[t],
                "sharpness": crop["sharpness"],
                "outcome": str(FrameOutcome.OK),
            }
        return fitted.identity_I, plain


@dataclass(frozen=True)
class _Stretch:
    """Neighbouring ticks that belong to one kept span, or to none."""

    clip_id: str | None
    landmarks: list[Row]
    crops: list[Row]


def _stretches(tables: dict[str, Path], crop: Commit) -> Iterator[_Stretch]:
    """Cut the film's ticks at the ends of kept spans; at most one stretch is held in memory."""
    by_span: dict[int, list[Row]] = {}
    for row in read_rows(tables[CROPS], crops_schema()):
        by_span.setdefault(row["span"], []).append(row)
    kept = iter([(span, *_ends(crop, span)) for span in sorted(by_span)])
    span, first, last = next(kept)
    held: list[Row] = []
    for row in read_rows(tables[LANDMARKS], landmarks_schema()):
        tick = row["frame_index"]
        if held and (tick == first or (tick < first and len(held) == _WRITE_ROWS)):
            yield _Stretch(None, held, [])
            held = []
        held.append(row)
        if tick == last:
            yield _Stretch(_clip_id(crop, span), held, by_span[span])
            held = []
            span, first, last = next(kept, (-1, 2**62, 2**62))
    if held:
        yield _Stretch(None, held, [])


def _ends(crop: Commit, span: int) -> tuple[int, int]:
    facts = _spans(crop)[span]
    return facts["first_tick"], facts["last_tick"]


def _spans(crop: Commit) -> list[Row]:
    spans: Any = crop.info["spans"]
    return list(spans)


def _clip_id(crop: Commit, span: int) -> str:
    return digest([crop.key, span])[:32]


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
    }


def _clip_rows(
    source_id: str, crop: Commit, pts_s: Sequence[float], identities: dict[str, Any]
) -> list[Row]:
    outputs = {output.name: output for output in crop.outputs}
    rows = []
    for number, span in enumerate(_spans(crop)):
        clip_id = _clip_id(crop, number)
        clip = outputs.get(span["clip"])
        rows.append(
            {
                "clip_id": clip_id,
                "source_id": source_id,
                "person": 0,
                "first_frame": span["first_tick"],
                "last_frame": span["last_tick"],
                "frames": span["frames"],
                "first_pts_s": pts_s[span["first_tick"]],
                "last_pts_s": pts_s[span["last_tick"]],
                "face_px": span["face_px"],
                "clip_key": clip.key if clip else None,
                "clip_sha256": clip.sha256 if clip else None,
                "outcome": str(Outcome.OK if clip else Outcome.FILTERED),
                "reason": span["reason"],
                "identity": identities.get(clip_id),
            }
        )
    return rows
