"""Finding out that an MP4 is encrypted, which FFmpeg does not always say: it may decode noise instead."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}
_VIDEO_ENTRY_BYTES = 78  # of a VisualSampleEntry, before the boxes inside it
# Boxes nest five deep on the way to a sample description; damaged files can claim any number of siblings.
_MAX_BOXES = 4096


def encrypted_scheme(path: Path) -> str | None:
    """Return the scheme ("cenc", "cbcs", ...) of an MP4 whose video samples are encrypted, None otherwise."""
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        budget = [_MAX_BOXES]
        return _find(file, 0, size, budget)


def _find(file: BinaryIO, start: int, stop: int, budget: list[int]) -> str | None:
    for kind, body, end in _boxes(file, start, stop, budget):
        if kind in _CONTAINERS:
            found = _find(file, body, end, budget)
        elif kind == b"stsd":
            found = _find(file, body + 8, end, budget)
        elif kind == b"encv":
            found = _scheme(file, body + _VIDEO_ENTRY_BYTES, end, budget) or "unnamed scheme"
        else:
            continue
        if found:
            return found
    return None


def _scheme(file: BinaryIO, start: int, stop: int, budget: list[int]) -> str | None:
    for kind, body, end in _boxes(file, start, stop, budget):
        if kind == b"sinf":
            return _scheme(file, body, end, budget)
        if kind == b"schm":
            file.seek(body + 4)
            return file.read(4).decode("latin-1")
    return None


def _boxes(file: BinaryIO, start: int, stop: int, budget: list[int]) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, start of the body, end) of the boxes in [start, stop)."""
    while start + 8 <= stop and budget[0]:
        budget[0] -= 1
        file.seek(start)
        header = file.read(16)
        if len(header) < 8:
            return
        length, kind = struct.unpack(">I4s", header[:8])
        body = start + 8
        if length == 1 and len(header) == 16:
            length, body = struct.unpack(">Q", header[8:])[0], start + 16
        elif length == 0:
            length = stop - start
        if length < body - start:
            return
        yield kind, body, min(start + length, stop)
        start += length
