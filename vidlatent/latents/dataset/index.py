"""The index of a shard: which clip lies where, one JSON line a clip, appended when the clip's bytes are on disk.

While a shard is written its index is the journal: what has a whole line here counts, what has none does not exist. The
last line closes the shard. Every line ends in a checksum of itself, so that a torn or changed one is seen.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from vidlatent.errors import LatentFileError

_TUPLES = ("shape", "size", "meta")


class Segment(NamedTuple):
    """A run of latent frames of a clip: one safetensors file in the shard.

    `data` is the byte in the shard where the frames begin; they lie there without gaps, (frames, C, h, w).
    """

    offset: int
    num_bytes: int
    data: int
    frames: int
    sha256: str


class Entry(NamedTuple):
    """One clip in a shard: its bytes [start, end), headers and padding among them, and what it takes to read it.

    `shape` is (C, h, w) of a latent frame as stored; `num_frames`, `size` and `seconds` are the video's; `meta` is
    where its description lies: offset, bytes, sha256.
    """

    key: str
    start: int
    end: int
    shape: tuple[int, int, int]
    num_frames: int
    size: tuple[int, int]
    seconds: float
    segments: tuple[Segment, ...]
    meta: tuple[int, int, str]

    @property
    def latent_frames(self) -> int:
        """Latent frames of all segments."""
        return sum(segment.frames for segment in self.segments)

    def moved(self, start: int) -> Entry:
        """The same clip at another place."""
        by = start - self.start
        segments = tuple(s._replace(offset=s.offset + by, data=s.data + by) for s in self.segments)
        meta = (self.meta[0] + by, *self.meta[1:])
        return self._replace(start=start, end=self.end + by, segments=segments, meta=meta)

    def to_line(self) -> bytes:
        """A line of the index."""
        return pack_line(self._asdict())


@dataclass(frozen=True)
class ShardIndex:
    """An index as it was read.

    `closing` is the last line of a finished shard: its bytes `end`, the number of `clips`, their `stats`. `valid_bytes`
    is how much of the index is whole lines; `damaged` counts lines before that which are not.
    """

    entries: tuple[Entry, ...] = ()
    closing: Mapping[str, Any] | None = None
    valid_bytes: int = 0
    damaged: int = 0


def pack_line(record: Mapping[str, Any]) -> bytes:
    """A JSON object and its checksum, as one line."""
    text = json.dumps(record, separators=(",", ":")).encode()
    return text[:-1] + b',"crc":"%08x"}\n' % zlib.crc32(text)


def unpack_line(line: bytes) -> dict[str, Any] | None:
    """Inverse of `pack_line`; None where the line is torn or changed."""
    text, mark, crc = line.rpartition(b',"crc":"')
    if not mark or len(crc) != 11 or crc[8:] != b'"}\n' or b"%08x" % zlib.crc32(text + b"}") != crc[:8]:
        return None
    record: dict[str, Any] = json.loads(text + b"}")
    return record


def parse_index(lines: Iterable[bytes]) -> ShardIndex:
    """Read what is whole. A torn last line is what a crash leaves and no damage; one with others after it is."""
    entries: list[Entry] = []
    closing, position, valid, damaged, doubtful = None, 0, 0, 0, 0
    for line in lines:
        position += len(line)
        record = unpack_line(line)
        if record is None:
            doubtful += 1
            continue
        valid, damaged = position, doubtful
        if "key" in record:
            entries.append(_entry(record))
        else:
            closing = record
    return ShardIndex(tuple(entries), closing, valid, damaged)


def _entry(record: Mapping[str, Any]) -> Entry:
    try:
        segments = tuple(map(Segment._make, record["segments"]))
        return Entry(**{**record, **{name: tuple(record[name]) for name in _TUPLES}, "segments": segments})
    except (KeyError, TypeError) as error:  # its checksum is right, so another version wrote it
        raise LatentFileError(
            f"an index line is of another format ({error}): pip install --upgrade vidlatent"
        ) from error
