"""Bringing a row's video to a local file, and hashing its bytes on the way."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from vidlatent.encode.sources.arrow import cell_bytes
from vidlatent.encode.sources.files import blocks, copy_to, is_url, open_binary
from vidlatent.encode.sources.row import Cell, ClipRow, Member
from vidlatent.errors import VideoError
from vidlatent.latents import content_hash


@dataclass(frozen=True)
class Fetched:
    """A video as a local file with the sha256 of its bytes; `temporary` is to be deleted after use."""

    path: Path
    sha256: str
    temporary: bool = False

    def drop(self) -> None:
        """Delete what was copied."""
        if self.temporary:
            self.path.unlink(missing_ok=True)


def fetch(row: ClipRow, scratch: Path) -> Fetched:
    """The video of a row: where it is if that is a local file, else a copy in the folder `scratch`.

    Raises:
        VideoError: It is missing, empty, or cannot be read; the copy is gone then.
    """
    if row.part is None and not is_url(row.uri):
        return Fetched(Path(row.uri), _hash(row))
    suffix = row.part.suffix if isinstance(row.part, Cell) else os.path.splitext(row.name)[1]
    target = scratch / f"{uuid4().hex}{suffix}"
    try:
        if isinstance(row.part, Cell):
            sha256 = copy_to(target, iter((cell_bytes(row.uri, row.part),)))
        else:
            with open_binary(row.uri) as file:
                if isinstance(row.part, Member):
                    file.seek(row.part.offset)
                sha256 = copy_to(target, blocks(file, row.part.num_bytes if row.part else None))
    except Exception as error:  # file systems raise what their clients do
        target.unlink(missing_ok=True)
        raise VideoError(row.name, str(error) or type(error).__name__) from error
    return Fetched(target, sha256, temporary=True)


def _hash(row: ClipRow) -> str:
    try:
        return content_hash(row.uri)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        raise VideoError(row.uri, reason) from error
