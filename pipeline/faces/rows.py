"""The face data of one film as arrays, read from its tables.

Shapes: N rows (ticks of the film), K 68 landmarks, E expression coefficients.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.outcomes import FrameOutcome
from storage.ledger import Commit, Ledger
from storage.schemas import FaceWidths, clips_schema, frames_schema
from storage.tables import matrix, read_table

FRAMES = "frames.parquet"
CLIPS = "clips.parquet"


@dataclass(frozen=True)
class FaceRows:
    """Rows of a `frames` table, by tick; where `ok_N` is False the numbers of a face are 0.

    person_N is -1 where nobody is known.
    """

    frame_index_N: NDArray[np.int64]
    person_N: NDArray[np.int64]
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
        return self.at(rows[np.argsort(self.clip_frame_N[rows])])

    def leading_person(self) -> int:
        """Return the person who is longest and largest in the picture; -1 where nobody is."""
        persons = self.person_N[self.ok_N]
        if not persons.size:
            return -1
        face_px = 1 / self.affine_N33[self.ok_N, 0, 0]
        return int(np.bincount(persons, weights=face_px).argmax())

    def of_person(self, person: int) -> "FaceRows":
        """Return one row for each tick of the film: the person's, else one that is not ok."""
        is_theirs_N = self.person_N == person
        order = np.lexsort((~is_theirs_N, self.frame_index_N))
        _, first = np.unique(self.frame_index_N[order], return_index=True)
        rows = self.at(order[first])
        gone_N = rows.ok_N & (rows.person_N != person)
        outcome_N = np.where(gone_N, str(FrameOutcome.NO_FACE), rows.outcome_N)
        return replace(rows, outcome_N=outcome_N)

    def at(self, rows: NDArray[np.int64]) -> "FaceRows":
        """Return these rows, in this order."""
        return FaceRows(**{name: values[rows] for name, values in vars(self).items()})


def read_faces(
    ledger: Ledger, faces: Commit, widths: FaceWidths, folder: Path
) -> tuple[list[dict[str, Any]], FaceRows]:
    """Return (rows of the `clips` table, rows of `frames` by tick) of a film's face3d commit."""
    clips = read_table(ledger.fetch(faces.output(CLIPS), folder), clips_schema(widths))
    table = read_table(ledger.fetch(faces.output(FRAMES), folder), frames_schema(widths))
    table = table.sort_by([("frame_index", "ascending"), ("person", "ascending")])
    rows = FaceRows(
        frame_index_N=table["frame_index"].to_numpy().astype(np.int64),
        person_N=np.asarray(table["person"].fill_null(-1)).astype(np.int64),
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
