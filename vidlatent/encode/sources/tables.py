"""CSV, JSONL, Parquet and Arrow: a row a clip, by a column of paths or of videos themselves."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from vidlatent.encode.sources.arrow import COLUMNAR, table_records
from vidlatent.encode.sources.files import folder_of, is_url, join, open_binary, stamp
from vidlatent.encode.sources.row import Cell, ClipRow
from vidlatent.encode.sources.values import PATHS, as_row, first
from vidlatent.errors import InputError

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", *COLUMNAR)


def is_table(path: str) -> bool:
    """Whether a name ends as tables do."""
    return path.lower().endswith(TABLES)


def table_rows(path: str, *, path_column: str = "", caption_column: str = "", root: str = "") -> Iterator[ClipRow]:
    """A row for each of a table's, read as needed; relative paths lie beside the table, or below `root`.

    Raises:
        InputError: The table cannot be read, or no column of it names files.
    """
    try:
        changed = stamp(path)
        for index, record in enumerate(_records(path)):
            column = path_column or first(record, PATHS)
            if column is None or column not in record:
                raise InputError(
                    f"{path}: no column {path_column or ' or '.join(PATHS)} among {', '.join(map(str, record))}: "
                    "path_column names the one with the files"
                )
            yield _row(path, index, record, column, changed, caption_column, root or folder_of(path))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: {error}") from error


def _row(
    path: str, index: int, record: Mapping[str, Any], column: str, changed: str, caption: str, folder: str
) -> ClipRow:
    value = record[column]
    named = {"path_column": column, "caption": caption}
    if isinstance(value, Mapping):  # as Hugging Face stores a video: its bytes, or the path of its file
        inside, value = value.get("bytes") is not None, value.get("path")
        if inside:
            suffix = os.path.splitext(str(value or ""))[1]
            return as_row(path, record, stamp=changed, part=Cell(column, index, suffix), **named)
    elif value is True:  # a column of bytes: see `table_records`
        return as_row(path, record, stamp=changed, part=Cell(column, index), **named)
    if not value:
        return ClipRow(path, Cell(column, index), stamp=changed, problem=f"row {index + 1} names no file")
    uri = join(folder, str(value))
    try:
        return as_row(uri, record, stamp=stamp(uri), **named)
    except OSError as error:
        return ClipRow(uri, problem=_reason(error))


def _reason(error: OSError) -> str:
    return "no such file" if isinstance(error, FileNotFoundError) else error.strerror or str(error)


def _records(path: str) -> Iterator[Mapping[str, Any]]:
    if path.lower().endswith(COLUMNAR):
        yield from table_records(path)
        return
    with open_binary(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        if path.lower().endswith((".csv", ".tsv")):
            yield from csv.DictReader(text, delimiter="\t" if path.lower().endswith(".tsv") else ",")
            return
        for number, line in enumerate(text, 1):
            if line.strip():
                yield _json_record(path, number, line)


def _json_record(path: str, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise InputError(f"{path}: line {number} is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise InputError(f"{path}: line {number} is not a JSON object")
    return record


def count_rows(path: str) -> int | None:
    """Rows of a table where that is quick to know, for the time that is left; None where it is not."""
    if is_url(path) or path.lower().endswith(COLUMNAR):
        return None
    with open(path, "rb") as file:
        lines = sum(block.count(b"\n") for block in iter(lambda: file.read(2**20), b""))
    return lines - path.lower().endswith((".csv", ".tsv"))
