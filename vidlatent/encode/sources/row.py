"""One row of a source: which file, which part of it, and what is said about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any


@dataclass(frozen=True)
class Member:
    """A video inside an uncompressed archive: `num_bytes` from byte `offset` on."""

    name: str
    offset: int
    num_bytes: int


@dataclass(frozen=True)
class Cell:
    """A video inside a table: its bytes in `column` of row `index`, counted over the whole file."""

    column: str
    index: int
    suffix: str = ""


@dataclass(frozen=True)
class ClipRow:
    """A video to encode, or a part of one. Nothing of it is open; rows travel between processes.

    Args:
        uri: Path or URL of the file, or of the archive or table it lies in.
        part: Where it lies in there, None where the file is the video.
        start, stop: Seconds, half-open; None is the video's own end.
        cuts: Seconds at which a scene ends and the next begins, increasing; no clip spans one.
        caption: What is in the picture.
        columns: All else that the source says about it, plain JSON values.
        stamp: What changes when the file does: size and time of change.
        problem: Why the row cannot be used, empty where it can.
    """

    uri: str
    part: Member | Cell | None = None
    start: Fraction | None = None
    stop: Fraction | None = None
    cuts: tuple[Fraction, ...] = ()
    caption: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    stamp: str = ""
    problem: str = ""

    @property
    def name(self) -> str:
        """How messages call it: `clip.mp4`, `shard.tar::a.mp4`, `part.parquet::video[3]`."""
        if self.part is None:
            return self.uri
        inner = self.part.name if isinstance(self.part, Member) else f"{self.part.column}[{self.part.index}]"
        return f"{self.uri}::{inner}"

    @property
    def digest(self) -> str:
        """Hash of what is asked for and of the file's stamp: a row that was finished once is known by it."""
        span = [None if s is None else str(s) for s in (self.start, self.stop, *self.cuts)]
        text = json.dumps([self.name, span, self.stamp], ensure_ascii=True)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
