"""WebDataset shards: uncompressed tar files in which the members of a sample share the name before the first dot."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from itertools import groupby
from typing import Any, BinaryIO

from vidlatent.encode.sources.files import open_binary, stamp
from vidlatent.encode.sources.folder import described, is_media
from vidlatent.encode.sources.row import ClipRow, Member
from vidlatent.encode.sources.values import as_row

_END_BYTES = 512


def brace_expand(pattern: str) -> list[str]:
    """`a-{000..010}.tar` and `{a,b}.tar` as WebDataset writes them, as the names they stand for."""
    found = re.search(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}", pattern)
    if not found:
        return [pattern]
    if found[3] is None:
        numbers = range(int(found[1]), int(found[2]) + 1)
        inner = [str(number).zfill(len(found[1])) for number in numbers]
    else:
        inner = found[3].split(",")
    return [name for item in inner for name in brace_expand(pattern[: found.start()] + item + pattern[found.end() :])]


def shard_rows(path: str) -> Iterator[ClipRow]:
    """A row for each video of a shard: `.txt` beside it is its caption, `.json` its caption, times and columns."""
    try:
        changed = stamp(path)
        with open_binary(path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            members = (member for member in archive if member.isfile())
            for _, sample in groupby(members, key=lambda member: _sample_of(member.name)):
                yield from _sample_rows(path, changed, file, list(sample))
            file.seek(archive.offset)
            if file.read(_END_BYTES) != bytes(_END_BYTES):  # tarfile takes a torn header for the end
                raise EOFError("it is cut off")
    except (tarfile.TarError, OSError, EOFError) as error:
        yield ClipRow(path, problem=f"not all of this tar file can be read, which must be uncompressed: {error}")


def _sample_of(name: str) -> str:
    folder, base = os.path.split(name)
    return os.path.join(folder, base.split(".", 1)[0])


def _sample_rows(path: str, changed: str, file: BinaryIO, sample: list[tarfile.TarInfo]) -> Iterator[ClipRow]:
    record: dict[str, Any] = {}
    problem = ""
    for member in sample:
        suffix = os.path.splitext(member.name)[1].lower()
        if suffix not in (".json", ".txt"):
            continue
        file.seek(member.offset_data)
        text = file.read(member.size)
        try:
            record.update(described(text) if suffix == ".json" else {"caption": text.decode().strip()})
        except ValueError as error:
            problem = f"{member.name} cannot be read: {error}"
    for member in sample:
        if is_media(member.name):
            part = Member(member.name, member.offset_data, member.size)
            if problem:
                yield ClipRow(path, part, stamp=changed, problem=problem)
            else:
                yield as_row(path, record, stamp=changed, part=part)
