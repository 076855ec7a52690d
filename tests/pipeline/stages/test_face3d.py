"""Face data: one row per tick, whole or empty; cameras that project the model onto the face."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_dataset import decode, write_film

from pipeline.faces.models import FaceModelName, widths_of
from pipeline.faces.rows import read_faces
from pipeline.recipes import preprocess_recipe
from preprocess.crop import transform
from preprocess.face3d.mesh478 import read_mesh478
from preprocess.landmarks.mesh_points import ibug68
from storage.ledger import Ledger

FILMS = ("man.mp4", "woman.mp4")
NUMBERS = ("landmarks", "crop_affine", "identity", "expression", "angles", "translation", "camera")
SCORES = ("reprojection_px", "reprojection_iod", "sharpness", "occlusion", "clip_id", "clip_frame")
WORLD_PER_DM = 0.27


@pytest.mark.parametrize("film", FILMS)
def test_every_tick_has_a_row_whole_or_empty(small: Any, film: str) -> None:
    rows = small.frames(film).to_pylist()
    ticks = small.commit(film, "ingest").counts["frames_out"]
    assert [row["frame_index"] for row in rows] == list(range(ticks))
    assert {row["source_id"] for row in rows} == {small.film(film).source_id}
    assert Counter(row["outcome"] for row in rows) == small.commit(film, "face3d").counts
    assert sum(row["outcome"] == "ok" for row in rows) >= 25
    for row in rows:
        known = {row[name] is not None for name in NUMBERS}
        assert known == {row["outcome"] == "ok"}
        assert len({row[name] is None for name in SCORES}) == 1
        for name in NUMBERS:
            assert row[name] is None or np.isfinite(row[name]).all()


@pytest.mark.parametrize("film", FILMS)
def test_clips_and_frames_tell_the_same(small: Any, film: str) -> None:
    frames = small.frames(film).to_pylist()
    outputs = {output.key: output for output in small.commit(film, "crop").outputs}
    for clip in small.clips(film):
        own = [row for row in frames if row["clip_id"] == clip["clip_id"]]
        assert (clip["outcome"] == "ok") == bool(own)
        if not own:
            continue
        assert clip["source_id"] == small.film(film).source_id
        assert len(own) == clip["frames"]
        assert [row["clip_frame"] for row in own] == list(range(len(own)))
        assert (own[0]["frame_index"], own[-1]["frame_index"]) == (
            clip["first_frame"],
            clip["last_frame"],
        )
        assert (own[0]["pts_s"], own[-1]["pts_s"]) == (clip["first_pts_s"], clip["last_pts_s"])
        assert outputs[clip["clip_key"]].sha256 == clip["clip_sha256"]
        assert all(row["identity"] == clip["identity"] for row in own)


@pytest.mark.parametrize("film", FILMS)
def test_cameras_are_eg3d_cameras(small: Any, film: str) -> None:
    for row in (row for row in small.frames(film).to_pylist() if row["outcome"] == "ok"):
        pose = np.reshape(row["camera"][:16], (4, 4)).astype(float)
        intrinsics = np.reshape(row["camera"][16:], (3, 3)).astype(float)
        assert np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-5)
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1, abs=1e-5)
        assert (pose[3] == [0, 0, 0, 1]).all()
        assert np.linalg.norm(pose[:3, 3]) == pytest.approx(2.7, abs=0.35)
        assert intrinsics[0, 0] == intrinsics[1, 1] == pytest.approx(4.26, abs=0.25)
        assert intrinsics[0, 1] == intrinsics[1, 0] == 0
        assert (intrinsics[2] == [0, 0, 1]).all()
        assert intrinsics[:2, 2] == pytest.approx([0.5, 0.5], abs=0.2)
        # It stands in front of the face and looks at it: z toward the viewer, camera axes x right,
        # y down, z forward.
        assert pose[2, 3] > 2
        assert pose[:3, 2] @ -pose[:3, 3] / np.linalg.norm(pose[:3, 3]) > 0.98


@pytest.mark.parametrize("film", FILMS)
def test_the_camera_projects_the_fitted_model_onto_the_landmarks(small: Any, film: str) -> None:
    """By the plain definition of a pinhole camera, none of the product's projections."""
    model = read_mesh478()
    errors_px = []
    for row in (row for row in small.frames(film).to_pylist() if row["outcome"] == "ok"):
        numbers = (np.array(row[name]) for name in ("identity", "expression", "angles"))
        shape = model.shape(*numbers)
        world = WORLD_PER_DM * ibug68(shape.reshape(-1, 3))
        pose = np.reshape(row["camera"][:16], (4, 4)).astype(float)
        intrinsics = np.reshape(row["camera"][16:], (3, 3)).astype(float)
        seen = (np.linalg.inv(pose) @ np.c_[world, np.ones(68)].T)[:3]
        assert (seen[2] > 0).all()
        pixels = intrinsics @ seen
        on_crop = 256 * (pixels[:2] / pixels[2]).T
        landmarks = np.reshape(row["landmarks"], (68, 2)).astype(float)
        wanted = transform(np.reshape(row["crop_affine"], (3, 3)), landmarks)
        errors_px.append(np.linalg.norm(on_crop - wanted, axis=1).mean())
    assert np.mean(errors_px) < 4
    assert np.max(errors_px) < 8


def test_read_faces_gives_the_rows_of_the_tables(small: Any) -> None:
    clips, rows = read_faces(
        small.ledger, small.commit("man.mp4", "face3d"), small.version.kind.widths, small.folder
    )
    table = small.frames("man.mp4").to_pylist()
    assert len(rows) == len(table)
    assert rows.ok_N.tolist() == [row["outcome"] == "ok" for row in table]
    clip = rows.of_clip(clips[0]["clip_id"])
    assert clip.clip_frame_N.tolist() == list(range(clips[0]["frames"]))
    first = next(row for row in table if row["clip_id"] == clips[0]["clip_id"])
    assert clip.expression_NE[0].tolist() == first["expression"]
    assert clip.affine_N33[0].ravel().tolist() == first["crop_affine"]


def test_stretches_without_a_clip_keep_their_rows(
    bench: Any, short_man: Path, tmp_path: Path
) -> None:
    """A kept span, a stretch without a face, and a span that is too short for a clip."""
    faces = decode(short_man)
    grey = [np.full_like(faces[0], 128)] * 10
    film = write_film([*grey, *faces[:30], *grey, *faces[:12]], tmp_path / "gaps.mp4", fps=25)
    (item,) = bench.run(preprocess_recipe("demo").stages(), film)
    assert item.ended is None
    assert item.commits["crop"].counts == {"spans_ok": 1, "spans_too_short": 1}
    assert item.commits["face3d"].counts == {"ok": 30, "no_face": 20, "out_of_range": 12}
    ledger: Ledger = bench.ledger
    clips, rows = read_faces(
        ledger, item.commits["face3d"], widths_of(FaceModelName.MESH478), tmp_path
    )
    assert [clip["outcome"] for clip in clips] == ["ok", "filtered"]
    assert clips[1]["clip_key"] is None
    assert (clips[1]["frames"], clips[1]["reason"]) == (12, "too_short")
    assert np.flatnonzero(rows.ok_N).tolist() == list(range(10, 40))
    assert rows.pts_s_N == pytest.approx(np.arange(62) / 25, abs=1e-6)
