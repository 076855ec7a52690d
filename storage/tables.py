"""Writing and reading Parquet tables by their schemas (Spec 2.6).

zstd, no dictionary, floats byte-stream-split; the table's name and version in the file's metadata.
A file is always read against the schema that the reader expects, never against its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage import schemas
from storage.schemas import VERSION_FACT

Column = Sequence[Any] | np.ndarray[Any, Any]
Row = Mapping[str, Any]


class SchemaMismatch(Exception):  # noqa: N818  named after the state, not after a mistake
    """A table is not what was asked for: one sentence that names the column and what is wrong."""


class TableWriter:
    """Writes a table piece by piece; the same pieces give the same bytes.

    A context manager: after an exception in its block there is no file.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            use_dictionary=False,
            use_byte_stream_split=[leaf for field in schema for leaf in _float_leaf(field)],
        )

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows by column name as one row group; a nullable column may be left out of a row.

        Raises SchemaMismatch when names, types, widths or nulls do not fit the schema.
        """
        foreign = {name for row in rows for name in row} - set(self._schema.names)
        if foreign:
            raise SchemaMismatch(f"the table has the unknown column {', '.join(sorted(foreign))}")
        columns = {name: [row.get(name) for row in rows] for name in self._schema.names}
        if rows:
            self.write_columns(columns)

    def write_columns(self, columns: Mapping[str, Column]) -> None:
        """Append columns by name as one row group: sequences with None for null, or arrays.

        Of vectors, a [rows, width] array or a sequence of such rows.
        """
        _same_names("the table", list(columns), self._schema.names)
        arrays = [_array(columns[field.name], field) for field in self._schema]
        lengths = {field.name: len(a) for field, a in zip(self._schema, arrays, strict=True)}
        if len(set(lengths.values())) > 1:
            raise SchemaMismatch(f"the columns differ in length: {lengths}")
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()
        if kind is not None:
            self._path.unlink()


def write_table(path: Path, rows: Sequence[Row] | Mapping[str, Column], schema: pa.Schema) -> None:
    """Write a whole table at once, from rows or from columns by name; see TableWriter."""
    with TableWriter(path, schema) as table:
        if isinstance(rows, Mapping):
            table.write_columns(rows)
        else:
            table.write(rows)


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """Read a table with exactly the columns of the schema.

    A nullable column that an older version of the table did not have comes back as nulls. Raises
    SchemaMismatch for another table, a newer version, other columns, other types or widths, and for
    a file that is not Parquet.
    """
    with _opened(path, schema) as file, _damage_said(path):
        return _as_asked(path, file.read(), schema)


def read_rows(
    path: Path, schema: pa.Schema, columns: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Read row by row, one group of the file in memory at a time; vectors come as arrays.

    `columns` are those wanted, all by default. Raises SchemaMismatch as read_table does.
    """
    wanted = schema if columns is None else _only(schema, columns)
    with _opened(path, schema) as file:
        for group in range(file.num_row_groups):
            yield from _group_rows(path, file, wanted, group)


def read_group(path: Path, schema: pa.Schema, group: int) -> list[dict[str, Any]]:
    """Return the rows that one call of TableWriter.write has written, counted from 0.

    Otherwise as read_rows.
    """
    with _opened(path, schema) as file:
        return _group_rows(path, file, schema, group)


def matrix(table: pa.Table, column: str) -> np.ndarray[Any, Any]:
    """Return a column of vectors as an array [rows, width]; null rows are 0."""
    array = table[column].combine_chunks()
    width = array.type.list_size
    flat = array.values.to_numpy(zero_copy_only=False).reshape(-1, width)
    flat = flat[array.offset : array.offset + len(array)].copy()
    if array.null_count:
        flat[np.asarray(array.is_null())] = 0
    return np.asarray(flat)


@contextmanager
def _damage_said(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises for damaged pages into SchemaMismatch."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise SchemaMismatch(f"{path} is not a readable Parquet file ({error})") from error


def _opened(path: Path, schema: pa.Schema) -> pq.ParquetFile:
    """Open a file after a look at what it says of itself."""
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowException as error:
        raise SchemaMismatch(f"{path} is not a readable Parquet file ({error})") from error
    metadata = file.schema_arrow.metadata or {}
    for fact, wanted in schema.metadata.items():
        if fact != VERSION_FACT and metadata.get(fact) != wanted:
            found = metadata.get(fact, b"unknown").decode()
            raise SchemaMismatch(f"{path} has {fact.decode()} {found}, not {wanted.decode()}")
    version = int(metadata.get(VERSION_FACT, b"0"))
    if version > schemas.SCHEMA_VERSION:
        raise SchemaMismatch(
            f"{path} has schema version {version}, newer than {schemas.SCHEMA_VERSION}"
        )
    if version == schemas.SCHEMA_VERSION:
        _same_names(str(path), file.schema_arrow.names, schema.names)
    return file


def _as_asked(path: Path, table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the table in the form of the schema."""
    for field in schema:
        if field.name not in table.column_names and field.nullable:  # from an older version
            table = table.append_column(field, pa.nulls(len(table), field.type))
    _same_names(str(path), table.column_names, schema.names)
    for field in schema:
        found = table.schema.field(field.name).type
        if found != field.type:
            raise SchemaMismatch(f"{path} has {field.name} as {found}, not {field.type}")
    return table.select(schema.names).cast(schema)


def _only(schema: pa.Schema, columns: Sequence[str]) -> pa.Schema:
    return pa.schema([schema.field(name) for name in columns], metadata=schema.metadata)


def _group_rows(
    path: Path, file: pq.ParquetFile, wanted: pa.Schema, group: int
) -> list[dict[str, Any]]:
    """Group by group, because Arrow's own iteration keeps all that it has read until its end."""
    with _damage_said(path):
        table = _as_asked(path, file.read_row_group(group, columns=wanted.names), wanted)
    values = {name: _values(table, name) for name in wanted.names}
    return [{name: column[row] for name, column in values.items()} for row in range(len(table))]


def _values(table: pa.Table, column: str) -> Sequence[Any]:
    if not pa.types.is_fixed_size_list(table.schema.field(column).type):
        return list(table[column].to_pylist())
    vectors, absent = matrix(table, column), np.asarray(table[column].is_null())
    return [None if gone else vector for vector, gone in zip(vectors, absent, strict=True)]


def _same_names(what: str, found: Sequence[str], wanted: Sequence[str]) -> None:
    lacking = [name for name in wanted if name not in found]
    if lacking:
        raise SchemaMismatch(f"{what} lacks the column {', '.join(lacking)}")
    foreign = [name for name in found if name not in wanted]
    if foreign:
        raise SchemaMismatch(f"{what} has the unknown column {', '.join(foreign)}")


def _array(column: Column, field: pa.Field) -> pa.Array:
    try:
        if pa.types.is_fixed_size_list(field.type):
            array = _vectors(column, field.type)
        elif pa.types.is_map(field.type):
            array = pa.array([sorted(dict(row).items()) for row in column], field.type)
        else:
            array = pa.array(column, field.type)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise SchemaMismatch(f"column {field.name} is not {field.type}: {error}") from error
    if array.null_count and not field.nullable:
        raise SchemaMismatch(f"column {field.name} has {array.null_count} nulls, and allows none")
    return array


def _vectors(column: Column, kind: pa.FixedSizeListType) -> pa.Array:
    """Rows of `list_size` numbers each, or None, as one flat array with a mask."""
    width, dtype = kind.list_size, kind.value_type.to_pandas_dtype()
    absent = np.array([vector is None for vector in column], bool)
    present = np.asarray([vector for vector in column if vector is not None], dtype)
    flat = np.zeros((len(column), width), dtype)
    if len(present):
        numbers = present.reshape(len(present), -1)
        if numbers.shape[1] != width:
            raise ValueError(f"rows have {numbers.shape[1]} numbers instead of {width}")
        flat[~absent] = numbers
    values = pa.array(flat.reshape(-1), kind.value_type)
    mask = pa.array(absent) if absent.any() else None
    return pa.FixedSizeListArray.from_arrays(values, type=kind, mask=mask)


def _float_leaf(field: pa.Field) -> list[str]:
    if pa.types.is_floating(field.type):
        return [field.name]
    is_vector = pa.types.is_fixed_size_list(field.type)
    return [f"{field.name}.list.element"] if is_vector else []
