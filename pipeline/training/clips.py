"""A dataset version as the clips that training reads."""

from pathlib import Path

from model.training.data import Clip
from pipeline.dataset import DatasetVersion
from pipeline.faces.rows import read_faces
from preprocess.media.clips import ClipReader
from storage.ledger import Ledger


def training_clips(ledger: Ledger, dataset: DatasetVersion, folder: Path) -> list[Clip]:
    """Copy the clips of a dataset into `folder`, and return them with a label for every frame.

    Ordered by source and span, so that a seed draws the same frames everywhere. Raises StoreError
    where the store has lost what the dataset lists.
    """
    clips: list[Clip] = []
    for film in dataset.ok_films:
        film_folder = folder / film.source_id
        film_folder.mkdir()
        faces = ledger.expect("face3d", film.keys["face3d"])
        by_key = {output.key: output for output in ledger.expect("crop", film.keys["crop"]).outputs}
        clip_rows, rows = read_faces(ledger, faces, dataset.kind.widths, film_folder)
        for clip in clip_rows:
            if clip["outcome"] != "ok":
                continue
            own = rows.of_clip(clip["clip_id"])
            clips.append(
                Clip(
                    clip_id=clip["clip_id"],
                    person=f"{film.source_id}/{clip['person']}",
                    frames=ClipReader(ledger.fetch(by_key[clip["clip_key"]], film_folder)),
                    expression_TE=own.expression_NE,
                    camera_T25=own.camera_N25,
                    usable_T=own.ok_N,
                )
            )
    return clips
