"""Parquet tables: what every column means (Spec 2.6). `storage.tables` writes and reads them."""

from dataclasses import dataclass

import pyarrow as pa

SCHEMA_VERSION = 2
VERSION_FACT = b"e3d.schema_version"
_TABLE_FACT = b"e3d.table"


@dataclass(frozen=True)
class FaceWidths:
    """How many numbers each group of a face model's coefficients has; 0 leaves the column out."""

    face_model: str
    identity: int
    expression: int
    texture: int
    gamma: int


def sources_schema() -> pa.Schema:
    """One row a film that was offered, usable or not; facts that could not be learnt are null.

    frames_in counts decoded frames, frames_out the 25 fps ticks made of them. `name` is for people.
    """
    return _schema(
        "sources",
        [
            _field("source_id", pa.string()),
            _known("sha256", pa.string()),
            _field("name", pa.string()),
            _known("bytes", pa.int64()),
            _known("container", pa.string()),
            _known("codec", pa.string()),
            _known("width", pa.int32()),
            _known("height", pa.int32()),
            _known("fps", pa.float64()),
            _known("duration_s", pa.float64()),
            _known("frames_in", pa.int64()),
            _known("frames_out", pa.int64()),
            _known("has_audio", pa.bool_()),
            _field("outcome", pa.string()),
            _field("reason", pa.string()),
        ],
    )


def clips_schema(widths: FaceWidths) -> pa.Schema:
    """One row a span of one person in one film, also a span that was filtered out.

    person and shot count those of the film; first_frame and last_frame are its 25 fps ticks, both
    inside; face_px is the median
    height of the face in film pixels; clip_key is the store key of the 256 px clip.
    """
    return _schema(
        "clips",
        [
            _field("clip_id", pa.string()),
            _field("source_id", pa.string()),
            _field("person", pa.int32()),
            _field("shot", pa.int32()),
            _field("first_frame", pa.int32()),
            _field("last_frame", pa.int32()),
            _field("frames", pa.int32()),
            _field("first_pts_s", pa.float64()),
            _field("last_pts_s", pa.float64()),
            _known("face_px", pa.float32()),
            _known("clip_key", pa.string()),
            _known("clip_sha256", pa.string()),
            _field("outcome", pa.string()),
            _field("reason", pa.string()),
            *_group("identity", widths.identity),
        ],
        face_model=widths.face_model,
    )


def frames_schema(widths: FaceWidths) -> pa.Schema:
    """One row a 25 fps tick of a film and a person; without a face all of its numbers are null.

    landmarks are 68 (x, y) in film px; crop_affine [3,3] row-major takes film px to crop px; angles
    are radians; camera is c2w [4,4] and K [3,3], row-major (EG3D); frame_index counts the film's
    ticks, clip_frame the frames of the crop clip. Scores stay where quality rejects a frame:
    reprojection_iod is reprojection_px in inter-ocular distances, sharpness in edge widths between
    the eyes, occlusion the covered part of the skin, 0 to 1; reason is quality's, else empty.
    """
    return _schema(
        "frames",
        [
            _field("source_id", pa.string()),
            _known("clip_id", pa.string()),
            _known("person", pa.int32()),
            _field("frame_index", pa.int32()),
            _known("clip_frame", pa.int32()),
            _field("pts_s", pa.float64()),
            *_group("landmarks", 136),
            *_group("crop_affine", 9, pa.float64()),
            *_group("identity", widths.identity),
            *_group("expression", widths.expression),
            *_group("texture", widths.texture),
            *_group("angles", 3),
            *_group("gamma", widths.gamma),
            *_group("translation", 3),
            *_group("camera", 25),
            _known("reprojection_px", pa.float32()),
            _known("reprojection_iod", pa.float32()),
            _known("score", pa.float32()),
            _known("sharpness", pa.float32()),
            _known("occlusion", pa.float32()),
            _field("outcome", pa.string()),
            _field("reason", pa.string()),
        ],
        face_model=widths.face_model,
    )


def outcomes_schema() -> pa.Schema:
    """One row an item at the stage where it ended; `counts` are the stage's own, by name."""
    return _schema(
        "outcomes",
        [
            _field("item_id", pa.string()),
            _field("stage", pa.string()),
            _field("outcome", pa.string()),
            _field("reason", pa.string()),
            _field("detail", pa.string()),
            _field("counts", pa.map_(pa.string(), pa.int64())),
            _known("seconds", pa.float64()),
        ],
    )


def renders_schema() -> pa.Schema:
    """One row a shot of a film job: the delivered file, its frames, and its ancestry.

    rendered + kept + failed = total; kept frames show what the shot's policy says: the film's own
    picture, or the last rendered one. reason is a word, detail a sentence. manifest is the C2PA
    manifest's id; strip_key the picture of frames before and after, thumbnail_key a small one.
    seconds is what rendering took, network_s what the network took of it; enlargement film px for
    each rendered px, at most over the shot; av_offset_s how much later than in its original the
    sound is heard.
    """
    return _schema(
        "renders",
        [
            _field("job", pa.string()),
            _field("shot_id", pa.string()),
            _known("key", pa.string()),
            _known("sha256", pa.string()),
            _known("manifest", pa.string()),
            _known("consent", pa.string()),
            _field("frames_total", pa.int32()),
            _field("frames_rendered", pa.int32()),
            _field("frames_kept", pa.int32()),
            _field("frames_failed", pa.int32()),
            _field("outcome", pa.string()),
            _field("reason", pa.string()),
            _field("detail", pa.string()),
            _field("seconds", pa.float64()),
            _known("network_s", pa.float64()),
            _known("strip_key", pa.string()),
            _known("thumbnail_key", pa.string()),
            _known("enlargement", pa.float64()),
            _known("av_offset_s", pa.float64()),
            _known("checkpoint_key", pa.string()),
            _known("dataset_key", pa.string()),
            _field("sources", pa.list_(pa.string())),
        ],
    )


def metrics_schema() -> pa.Schema:
    """One row a number of a training or evaluation run."""
    return _schema(
        "metrics",
        [
            _field("run", pa.string()),
            _field("step", pa.int64()),
            _field("phase", pa.string()),
            _field("split", pa.string()),
            _field("name", pa.string()),
            _field("value", pa.float64()),
        ],
    )


def evaluation_schema() -> pa.Schema:
    """One row a driving frame and a protocol ("same" or "cross") of an evaluation.

    Frames count those of their clips. Each metric stands three times: of the generated frame, of
    the source copied in its place (copy_), and, where that says something, of the film itself
    (driver_). NaN could not be measured, and `reason` says why; null does not apply to the frame.
    """
    metrics = (
        *("psnr", "ssim", "l1", "lpips", "akd", "akd_sum"),
        *("csim", "aed", "apd6", "apd3", "jitter", "flicker"),
    )
    others = [f"copy_{name}" for name in metrics]
    others += ["driver_csim", "driver_jitter", "driver_flicker"]
    return _schema(
        "evaluation",
        [
            _field("protocol", pa.string()),
            _field("person", pa.string()),
            _field("source_clip", pa.string()),
            _field("source_frame", pa.int32()),
            _field("driving_clip", pa.string()),
            _field("driving_frame", pa.int32()),
            _field("seen", pa.string()),
            *(_known(name, pa.float64()) for name in (*metrics, *others)),
            _field("reason", pa.string()),
        ],
    )


def ticks_schema() -> pa.Schema:
    """One row a tick of a film's mezzanine: its shot, and the time of the frame that it shows."""
    return _schema(
        "ticks",
        [
            _field("frame_index", pa.int32()),
            _field("pts_s", pa.float64()),
            _field("shot", pa.int32()),
        ],
    )


def tracks_schema() -> pa.Schema:
    """One row a track: a face followed without a break, within one shot.

    person counts the film's persons; frames have a face, last_tick is the last of them; embedding
    is the mean direction of the face's identity embeddings.
    """
    return _schema(
        "tracks",
        [
            _field("track", pa.int32()),
            _field("person", pa.int32()),
            _field("shot", pa.int32()),
            _field("first_tick", pa.int32()),
            _field("last_tick", pa.int32()),
            _field("frames", pa.int32()),
            _known("embedding", pa.list_(pa.float32())),
        ],
    )


def landmarks_schema() -> pa.Schema:
    """One row a tick of a film and a face in it; without a face all of its numbers are null.

    track is null where the face is not followed; box is x, y, x, y of the landmarks' hull, points5
    and landmarks are (x, y), mesh is (x, y, z) of 478 points, all in film px; score is the
    backend's confidence. Five-point backends leave landmarks and mesh null.
    """
    return _schema(
        "landmarks",
        [
            _field("frame_index", pa.int32()),
            _known("track", pa.int32()),
            _field("outcome", pa.string()),
            _known("score", pa.float32()),
            *_group("box", 4, pa.float64()),
            *_group("points5", 10, pa.float64()),
            *_group("landmarks", 136),
            *_group("mesh", 1434),
        ],
    )


def crops_schema() -> pa.Schema:
    """One row a frame of a crop clip, in the order of the film; each span is one group of rows.

    span counts the film's stretches of one face; origin and scale are the alignment (film px, px
    per decimetre), box_centre and box_side the square that was cut, in film px; sharpness is in
    edge widths between the eyes, occlusion the covered part of the skin, 0 to 1.
    """
    return _schema(
        "crops",
        [
            _field("frame_index", pa.int32()),
            _field("span", pa.int32()),
            _field("clip_frame", pa.int32()),
            *_group("origin", 2, pa.float64()),
            _field("scale", pa.float64()),
            *_group("box_centre", 2, pa.float64()),
            _field("box_side", pa.float64()),
            *_group("crop_affine", 9, pa.float64()),
            _field("sharpness", pa.float32()),
            _field("occlusion", pa.float32()),
        ],
    )


def _schema(name: str, fields: list[pa.Field], **facts: str) -> pa.Schema:
    metadata = {_TABLE_FACT: name.encode(), VERSION_FACT: str(SCHEMA_VERSION).encode()}
    metadata |= {f"e3d.{key}".encode(): value.encode() for key, value in facts.items()}
    return pa.schema(fields, metadata=metadata)


def _field(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


def _known(name: str, kind: pa.DataType) -> pa.Field:
    """A column that is null where the fact is not known."""
    return pa.field(name, kind, nullable=True)


def _group(name: str, width: int, kind: pa.DataType | None = None) -> list[pa.Field]:
    return [_known(name, pa.list_(kind or pa.float32(), width))] if width else []
