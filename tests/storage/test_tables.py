"""Tables: what is written comes back, the same bytes each time, and nothing else is accepted."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage import schemas
from storage.schemas import FaceWidths
from storage.tables import (
    SchemaMismatch,
    TableWriter,
    matrix,
    read_rows,
    read_table,
    write_table,
)

MESH = FaceWidths("mesh478", identity=40, expression=64, texture=0, gamma=0)
BFM = FaceWidths("bfm09", identity=80, expression=64, texture=80, gamma=27)
ALL = {
    "sources": schemas.sources_schema(),
    "clips": schemas.clips_schema(MESH),
    "frames": schemas.frames_schema(BFM),
    "outcomes": schemas.outcomes_schema(),
    "renders": schemas.renders_schema(),
    "metrics": schemas.metrics_schema(),
    "ticks": schemas.ticks_schema(),
    "landmarks": schemas.landmarks_schema(),
    "crops": schemas.crops_schema(),
}


def _value(kind: pa.DataType, row: int) -> object:
    if pa.types.is_fixed_size_list(kind):
        return [row + index / 8 for index in range(kind.list_size)]
    if pa.types.is_map(kind):
        return {"ok": row, "no_face": 2}
    if pa.types.is_list(kind):
        return [f"film-{row}", "other"]
    if pa.types.is_boolean(kind):
        return row % 2 == 0
    if pa.types.is_integer(kind):
        return row
    return f"text {row}" if pa.types.is_string(kind) else row / 4


def _columns(schema: pa.Schema, rows: int = 5) -> dict[str, list[object]]:
    """Row 1 has every null that the schema allows."""
    return {
        field.name: [
            None if field.nullable and row == 1 else _value(field.type, row) for row in range(rows)
        ]
        for field in schema
    }


@pytest.mark.parametrize("name", ALL)
def test_every_table_comes_back_as_it_was_written(name: str, tmp_path: Path) -> None:
    schema, columns = ALL[name], _columns(ALL[name])
    write_table(tmp_path / "a", columns, schema)
    table = read_table(tmp_path / "a", schema)
    assert table.schema.equals(schema, check_metadata=True)
    for field in schema:
        values = table[field.name].to_pylist()
        if pa.types.is_map(field.type):
            values = [dict(row) for row in values]
        assert values == columns[field.name]


@pytest.mark.parametrize("name", ALL)
def test_the_same_content_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    schema, columns = ALL[name], _columns(ALL[name], rows=50)
    write_table(tmp_path / "a", columns, schema)
    write_table(tmp_path / "b", dict(reversed(columns.items())), schema)
    rows = [{name: values[row] for name, values in columns.items()} for row in range(50)]
    write_table(tmp_path / "c", rows, schema)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "c").read_bytes()


def test_the_order_of_counts_does_not_matter(tmp_path: Path) -> None:
    schema = ALL["outcomes"]
    for name, counts in (("a", {"x": 1, "y": 2}), ("b", {"y": 2, "x": 1})):
        write_table(tmp_path / name, {**_columns(schema, 1), "counts": [counts]}, schema)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("name", ALL)
def test_an_empty_table_is_a_table(name: str, tmp_path: Path) -> None:
    write_table(tmp_path / "a", _columns(ALL[name], rows=0), ALL[name])
    assert len(read_table(tmp_path / "a", ALL[name])) == 0


def test_vectors_are_given_as_arrays_of_any_shape_with_gaps(tmp_path: Path) -> None:
    schema = ALL["frames"]
    rng = np.random.default_rng(0)
    landmarks, camera = rng.normal(size=(5, 68, 2)), rng.normal(size=(5, 25)).astype(np.float32)
    gaps = [camera[0], None, camera[2].tolist(), None, camera[4]]
    given = {**_columns(schema), "landmarks": landmarks, "camera": gaps, "gamma": [None] * 5}
    write_table(tmp_path / "a", given, schema)
    table = read_table(tmp_path / "a", schema)
    flat = table["landmarks"].combine_chunks().flatten().to_numpy()
    np.testing.assert_array_equal(flat.reshape(5, 68, 2), landmarks.astype(np.float32))
    assert table["camera"].to_pylist() == [None if row is None else list(row) for row in gaps]
    assert table["gamma"].null_count == 5


def test_a_table_is_written_and_read_piece_by_piece(tmp_path: Path) -> None:
    schema, path = ALL["landmarks"], tmp_path / "a"
    columns = _columns(schema, rows=3000)
    rows = [{name: values[row] for name, values in columns.items()} for row in range(3000)]
    with TableWriter(path, schema) as table:
        for start in range(0, 3000, 700):
            table.write(rows[start : start + 700])
        table.write([])
    read = list(read_rows(path, schema, ["frame_index", "box"]))
    assert [row["frame_index"] for row in read] == columns["frame_index"]
    assert read[1]["box"] is None
    np.testing.assert_array_equal(read[2999]["box"], rows[2999]["box"])
    boxes = matrix(read_table(path, schema), "box")
    assert boxes.shape == (3000, 4)
    assert not boxes[1].any()
    np.testing.assert_array_equal(boxes[2], rows[2]["box"])


def test_a_nullable_column_may_be_left_out_of_a_row(tmp_path: Path) -> None:
    path, schema = tmp_path / "a", ALL["landmarks"]
    write_table(path, [{"frame_index": 0, "outcome": "no_face"}], schema)
    assert read_table(path, schema)["mesh"].null_count == 1
    with pytest.raises(SchemaMismatch, match="unknown column colour"):
        write_table(path, [{"frame_index": 0, "outcome": "ok", "colour": 1}], schema)
    with pytest.raises(SchemaMismatch, match="outcome has 1 nulls"):
        write_table(path, [{"frame_index": 0}], schema)


def test_floats_are_split_and_nothing_is_a_dictionary(tmp_path: Path) -> None:
    schema = ALL["frames"]
    write_table(tmp_path / "a", _columns(schema), schema)
    group = pq.ParquetFile(tmp_path / "a").metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert "BYTE_STREAM_SPLIT" in columns["expression.list.element"].encodings
    assert "BYTE_STREAM_SPLIT" in columns["pts_s"].encodings
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert not any("DICTIONARY" in text for each in columns.values() for text in each.encodings)


def test_a_width_of_zero_leaves_the_column_out() -> None:
    names = schemas.frames_schema(MESH).names
    assert "texture" not in names
    assert "gamma" not in names
    assert schemas.frames_schema(BFM).field("gamma").type.list_size == 27


SPOILT: dict[str, tuple[Callable[[dict], object], str]] = {
    "a column too few": (lambda c: c.pop("camera"), "lacks the column camera"),
    "a column too many": (lambda c: c.update(extra=[0] * 5), "unknown column extra"),
    "a column too short": (lambda c: c.update(score=[0.5]), "differ in length"),
    "a wrong width": (lambda c: c.update(camera=np.zeros((5, 24))), "24 numbers instead of 25"),
    "ragged vectors": (lambda c: c.update(angles=[[1], [1, 2], [], None, None]), "column angles"),
    "a forbidden null": (lambda c: c.update(outcome=[None] * 5), "outcome has 5 nulls"),
    "a wrong type": (lambda c: c.update(frame_index=["x"] * 5), "column frame_index is not int32"),
    "too large a number": (lambda c: c.update(frame_index=[2**40] * 5), "column frame_index"),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_what_does_not_fit_is_refused_by_column(fault: str, tmp_path: Path) -> None:
    spoil, sentence = SPOILT[fault]
    columns = _columns(ALL["frames"])
    spoil(columns)
    with pytest.raises(SchemaMismatch, match=sentence):
        write_table(tmp_path / "a", columns, ALL["frames"])
    assert not (tmp_path / "a").exists()


def test_a_file_is_never_read_as_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_table(path, _columns(schemas.frames_schema(MESH)), schemas.frames_schema(MESH))
    with pytest.raises(SchemaMismatch, match=r"has e3d\.table frames, not clips"):
        read_table(path, ALL["clips"])
    with pytest.raises(SchemaMismatch, match=r"has e3d\.face_model mesh478, not bfm09"):
        read_table(path, ALL["frames"])
    wider = FaceWidths("mesh478", identity=41, expression=64, texture=0, gamma=0)
    with pytest.raises(SchemaMismatch, match="has identity as fixed_size_list"):
        read_table(path, schemas.frames_schema(wider))
    with pytest.raises(SchemaMismatch, match="lacks the column gamma"):
        read_table(path, schemas.frames_schema(FaceWidths("mesh478", 40, 64, 0, 27)))
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(SchemaMismatch, match=r"e3d\.table unknown"):
        read_table(path, ALL["clips"])


def test_versions(tmp_path: Path, monkeypatch) -> None:
    """A newer file is refused; a column that an older one did not have yet comes back as nulls."""
    path, schema = tmp_path / "a", ALL["metrics"]
    with monkeypatch.context() as later:
        later.setattr(schemas, "SCHEMA_VERSION", schemas.SCHEMA_VERSION + 1)
        write_table(path, _columns(schema), schemas.metrics_schema())
    with pytest.raises(SchemaMismatch, match="schema version 3, newer than 2"):
        read_table(path, schema)
    write_table(path, _columns(schema), schema)
    monkeypatch.setattr(schemas, "SCHEMA_VERSION", 3)
    wider = schemas.metrics_schema().append(pa.field("unit", pa.string()))
    assert read_table(path, wider)["unit"].null_count == 5
    demanding = schemas.metrics_schema().append(pa.field("unit", pa.string(), nullable=False))
    with pytest.raises(SchemaMismatch, match="lacks the column unit"):
        read_table(path, demanding)


def test_damaged_pages_are_said_plainly(tmp_path: Path) -> None:
    path, schema = tmp_path / "a", ALL["metrics"]
    write_table(path, _columns(schema, rows=200), schema)
    data = bytearray(path.read_bytes())
    data[4:300] = bytes(296)
    path.write_bytes(data)
    with pytest.raises(SchemaMismatch, match="not a readable Parquet file"):
        read_table(path, schema)
    with pytest.raises(SchemaMismatch, match="not a readable Parquet file"):
        list(read_rows(path, schema))


@pytest.mark.parametrize("keep", [0, 3, 200, -5])
def test_a_broken_file_is_said_plainly(keep: int, tmp_path: Path) -> None:
    path, schema = tmp_path / "a", ALL["metrics"]
    write_table(path, _columns(schema), schema)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SchemaMismatch, match="not a readable Parquet file"):
        read_table(path, schema)
