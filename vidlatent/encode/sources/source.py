"""What a source is, seen from its name and what lies there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from vidlatent.encode.sources.files import expand, is_url, local
from vidlatent.encode.sources.folder import is_media, media_rows
from vidlatent.encode.sources.row import ClipRow
from vidlatent.encode.sources.shards import brace_expand, shard_rows
from vidlatent.encode.sources.tables import count_rows, is_table, table_rows
from vidlatent.errors import InputError

_METADATA = tuple(f"metadata.{kind}" for kind in ("csv", "jsonl", "parquet"))
_ALLOWED = "a folder or glob of videos, a CSV, JSONL or Parquet table, tar shards, or a Hugging Face dataset folder"


@dataclass(frozen=True)
class Source:
    """Rows, read anew each time they are iterated; `num_rows` where that is known without reading all."""

    kind: str
    rows: Callable[[], Iterator[ClipRow]]
    num_rows: int | None = None

    def __iter__(self) -> Iterator[ClipRow]:
        return self.rows()


def open_source(source: str | os.PathLike[str], *, path_column: str = "", caption_column: str = "") -> Source:
    """Find out what a source is.

    A folder is searched with all below it. One with a `metadata.csv`, `.jsonl` or `.parquet` is what Hugging Face
    calls an ImageFolder or VideoFolder: the table names the files. One without videos, but with tables or tar shards,
    is taken as these; a table's cells may hold the videos. Otherwise its videos and images are rows, each with the
    caption in the `.txt`, or what the `.json` of the same name says.

    Args:
        source: Path, glob, or URL of what fsspec reads; `{000..010}` as in WebDataset.
        path_column, caption_column: Columns of a table; without, the usual names are tried.

    Raises:
        InputError: There is nothing, or nothing that is a source.
        MissingDependency: A package for this kind of source is not installed.
    """
    name = local(os.fspath(source))
    if not is_url(name):
        name = os.path.abspath(name)
    files = [path for pattern in brace_expand(name) for path in expand(pattern)]
    if not files:
        raise InputError(f"{source}: there is nothing here; a source is {_ALLOWED}")

    def tables(paths: list[str]) -> Iterator[ClipRow]:
        options = {"path_column": path_column, "caption_column": caption_column}
        return chain.from_iterable(table_rows(path, **options) for path in paths)

    listings = [path for path in files if path.endswith(_METADATA)] if files != [name] else []
    if listings:
        return Source("folder with metadata", lambda: tables(listings), _total(listings))
    media = [path for path in files if is_media(path)]
    if media:
        return Source("folder", lambda: media_rows(media), len(media))
    shards = [path for path in files if path.lower().endswith(".tar")]
    if shards:
        return Source("tar shards", lambda: chain.from_iterable(map(shard_rows, shards)))
    found = [path for path in files if is_table(path)]
    if found:
        return Source("table", lambda: tables(found), _total(found))
    raise InputError(f"{source}: {os.path.basename(files[0])} is no video, table or tar; a source is {_ALLOWED}")


def _total(paths: list[str]) -> int | None:
    counts = [count_rows(path) for path in paths]
    return None if None in counts else sum(count for count in counts if count is not None)
