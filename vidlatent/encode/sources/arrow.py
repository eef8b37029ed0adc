"""Parquet and Arrow tables, through pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any

from vidlatent.encode.sources.files import is_url, open_binary
from vidlatent.encode.sources.row import Cell
from vidlatent.errors import InputError, MissingDependency

COLUMNAR = (".parquet", ".arrow")
_ROWS_AT_ONCE = 256
_reading = Lock()


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependency("pyarrow", "encode") from error
    return pyarrow


def table_records(path: str) -> Iterator[dict[str, Any]]:
    """The rows of a table without the videos in it: where a cell has bytes, it says True.

    Raises:
        InputError: It cannot be read.
    """
    with _telling(path):
        for batch in _batches(path):
            columns = {name: _light(batch.column(i)) for i, name in enumerate(batch.schema.names)}
            for index in range(batch.num_rows):
                yield {name: values[index] for name, values in columns.items()}


def cell_bytes(path: str, cell: Cell) -> bytes:
    """The video in a cell. Raises `InputError` where the table cannot be read."""
    with _telling(path), _reading:
        for start, rows in _groups(path):
            if start <= cell.index < start + rows.num_rows:
                value = rows.column(cell.column)[cell.index - start].as_py()
                return bytes(value["bytes"] if isinstance(value, dict) else value)
    raise InputError(f"{path}: it has no row {cell.index}")


def _batches(path: str) -> Iterator[Any]:
    arrow = _pyarrow()
    if path.lower().endswith(".parquet"):
        with open_binary(path) as file:
            yield from arrow.parquet.ParquetFile(file).iter_batches(batch_size=_ROWS_AT_ONCE)
    else:
        yield from _arrow_table(path).to_batches(max_chunksize=_ROWS_AT_ONCE)


def _light(column: Any) -> list[Any]:
    """A column's values, with bytes replaced by whether there are any."""
    arrow = _pyarrow()
    kind = column.type
    if arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind):
        return [True if valid else None for valid in column.is_valid().to_pylist()]
    if arrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        inside = column.field("bytes").is_valid().to_pylist()
        paths = column.field("path").to_pylist() if kind.get_field_index("path") >= 0 else [None] * len(column)
        return [{"bytes": has or None, "path": path} for has, path in zip(inside, paths, strict=True)]
    return list(column.to_pylist())


def _groups(path: str) -> Iterator[tuple[int, Any]]:
    """(first row, table) of each part of a file that can be read for itself."""
    if not path.lower().endswith(".parquet"):
        yield 0, _arrow_table(path)
        return
    with open_binary(path) as file:
        described = _pyarrow().parquet.ParquetFile(file).metadata
    start = 0
    for group in range(described.num_row_groups):
        num_rows = described.row_group(group).num_rows
        yield start, _RowGroup(path, group, num_rows)
        start += num_rows


class _RowGroup:
    """A row group that is read only when a row of it is wanted."""

    def __init__(self, path: str, group: int, num_rows: int) -> None:
        self._path, self._group, self.num_rows = path, group, num_rows

    def column(self, name: str) -> Any:
        return _row_group_column(self._path, self._group, name)


@lru_cache(maxsize=2)  # rows are asked for in order, by a few threads
def _row_group_column(path: str, group: int, name: str) -> Any:
    with open_binary(path) as file:
        return _pyarrow().parquet.ParquetFile(file).read_row_group(group, columns=[name]).column(name)


@lru_cache(maxsize=2)
def _arrow_table(path: str) -> Any:
    """An Arrow file as Hugging Face's `save_to_disk` (a stream) or as Feather writes it; mapped, not read."""
    arrow = _pyarrow()
    file = arrow.BufferReader(open_binary(path).read()) if is_url(path) else arrow.memory_map(path)
    try:
        return arrow.ipc.open_stream(file).read_all()
    except arrow.ArrowInvalid:
        file.seek(0)
        return arrow.ipc.open_file(file).read_all()


@contextmanager
def _telling(path: str) -> Iterator[None]:
    arrow = _pyarrow()
    try:
        yield
    except (arrow.ArrowException, KeyError) as error:
        raise InputError(f"{path}: {error}") from error
