"""Report of a dataset version: what became of each film, its poses, and how its crops look."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.dataset import DatasetVersion, FilmEntry
from pipeline.face_rows import FaceRows, read_faces
from pipeline.reports.page import Picture, Report, Section, Table
from pipeline.reports.pictures import Image, jpeg, scatter, spread, stack, strip, with_points
from preprocess.crop import transform
from preprocess.media.clips import ClipReader
from storage.ledger import Ledger

_SHOWN_FILMS = 12
_CROPS_PER_CLIP = 10


def dataset_report(ledger: Ledger, name: str, version: DatasetVersion) -> Report:
    """Return the report of a version; pictures of its first films."""
    outcomes = [film.outcome for film in version.films]
    counts = ", ".join(f"{outcomes.count(one)} {one}" for one in sorted(set(outcomes)))
    kind = version.kind
    shown = [_Shown(ledger, version, film) for film in version.ok_films[:_SHOWN_FILMS]]
    sections = [Section("Films", table=_films(version))]
    if shown:
        sections += [
            Section(
                "Poses",
                "Each point is a frame: where a cloud is thin, a network will have seen little.",
                pictures=[_poses(shown)],
            ),
            Section(
                "Crops",
                "Frames of each clip, with the 68 landmarks drawn. They should sit on the face, "
                "and the nose near the centre.",
                pictures=[one.contact_sheet for one in shown],
            ),
        ]
    return Report(
        title=f"Dataset {name}",
        summary=f"{len(outcomes)} films: {counts}. Recipe {kind.recipe}, camera "
        f"{kind.camera_mode}, face model {kind.widths.face_model}. Version {version.key[:12]}.",
        sections=sections,
    )


def _films(version: DatasetVersion) -> Table:
    rows = [
        (
            film.name,
            film.outcome,
            film.reason or "",
            film.stage,
            ", ".join(f"{count} {what}" for what, count in sorted(film.counts.items())),
        )
        for film in version.films
    ]
    return Table(("film", "outcome", "reason", "last stage", "frames"), rows)


class _Shown:
    """A film of the report: its rows and a picture of its clips."""

    def __init__(self, ledger: Ledger, version: DatasetVersion, film: FilmEntry) -> None:
        self.name = film.name
        with tempfile.TemporaryDirectory(prefix="e3d-report-") as name:
            folder = Path(name)
            faces = ledger.find("face3d", film.keys["face3d"])
            crop = ledger.find("crop", film.keys["crop"])
            if faces is None or crop is None:
                raise LookupError(f"{film.name} is listed by the dataset, and its commits are gone")
            clips, self.rows = read_faces(ledger, faces, version.kind.widths, folder)
            outputs = {output.key: output for output in crop.outputs}
            strips = [
                _strip(
                    ClipReader(ledger.fetch(outputs[clip["clip_key"]], folder)),
                    self.rows.of_clip(clip["clip_id"]),
                )
                for clip in clips
                if clip["outcome"] == "ok"
            ]
        self.contact_sheet = jpeg(stack(strips[:6]), film.name)


def _strip(reader: ClipReader, rows: FaceRows) -> Image:
    pictures = [
        with_points(reader[frame], transform(rows.affine_N33[frame], rows.landmarks_NK2[frame]))
        for frame in spread(len(reader), _CROPS_PER_CLIP)
    ]
    return strip(pictures, 128)


def _poses(shown: list[_Shown]) -> Picture:
    degrees: dict[str, Any] = {}
    for film in shown:
        angles = np.rad2deg(film.rows.angles_N3[film.rows.ok_N])
        degrees[film.name] = (angles[:, 1], angles[:, 0])
    return scatter(
        degrees, "Head poses", x_label="yaw, degrees (right +)", y_label="pitch, degrees (down +)"
    )
