"""The face data of one film as arrays, read from its tables.

Shapes: N rows (ticks of the film), K 68 landmarks, E expression coefficients.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.ledger import Commit, Ledger
from storage.schemas import FaceWidths, clips_schema, frames_schema
from storage.tables import matrix, read_table

FRAMES = "frames.parquet"
CLIPS = "clips.parquet"


@dataclass(frozen=True)
class FaceRows:
    """Rows of a `frames` table; where `ok_N` is False the numbers of a face are 0."""

    pts_s_N: NDArray[np.float64]
    outcome_N: NDArray[np.str_]
    clip_id_N: NDArray[np.str_]
    clip_frame_N: NDArray[np.int64]
    landmarks_NK2: NDArray[np.float32]
    affine_N33: NDArray[np.float64]
    expression_NE: NDArray[np.float32]
    angles_N3: NDArray[np.float32]
    camera_N25: NDArray[np.float32]
    sharpness_N: NDArray[np.float32]

    @property
    def ok_N(self) -> NDArray[np.bool_]:
        """Which rows carry a face with all its numbers."""
        return np.asarray(self.outcome_N == "ok")

    def __len__(self) -> int:
        return len(self.pts_s_N)

    def of_clip(self, clip_id: str) -> "FaceRows":
        """Return the rows that are frames of a clip, in the clip's order."""
        rows = np.flatnonzero(self.clip_id_N == clip_id)
        rows = rows[np.argsort(self.clip_frame_N[rows])]
        return FaceRows(**{name: values[rows] for name, values in vars(self).items()})


def read_faces(
    ledger: Ledger, faces: Commit, widths: FaceWidths, folder: Path
) -> tuple[list[dict[str, Any]], FaceRows]:
    """Return (rows of the `clips` table, rows of `frames`) of a film's face3d commit."""
    clips = read_table(ledger.fetch(faces.output(CLIPS), folder), clips_schema(widths))
    table = read_table(ledger.fetch(faces.output(FRAMES), folder), frames_schema(widths))
    rows = FaceRows(
        pts_s_N=table["pts_s"].to_numpy(),
        outcome_N=np.asarray(table["outcome"].to_pylist(), np.str_),
        clip_id_N=np.asarray([name or "" for name in table["clip_id"].to_pylist()], np.str_),
        clip_frame_N=np.asarray(table["clip_frame"].fill_null(-1)).astype(np.int64),
        landmarks_NK2=matrix(table, "landmarks").reshape(-1, 68, 2),
        affine_N33=matrix(table, "crop_affine").reshape(-1, 3, 3),
        expression_NE=matrix(table, "expression"),
        angles_N3=matrix(table, "angles"),
        camera_N25=matrix(table, "camera"),
        sharpness_N=np.asarray(table["sharpness"].fill_null(0)),
    )
    return clips.to_pylist(), rows
