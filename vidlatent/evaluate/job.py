"""One clip through one candidate, as it is told to a worker, and the files that come of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidlatent.evaluate.protocol import Protocol

Row = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """What is evaluated, in a form that goes to another process.

    `kind` is "model" or a baseline's; `value` a codec's bits per pixel or a factor; `origin` where to load it from;
    `matches` the candidate whose bits a codec is given, which are `rate` of its row.
    """

    name: str
    kind: str
    fingerprint: str
    origin: str = ""
    value: float | None = None
    matches: str | None = None
    rate: str = "rate_bits_per_pixel"


@dataclass(frozen=True)
class Job:
    """Everything a worker needs."""

    folder: str
    protocol: Protocol
    path: str
    clip: str
    subject: Subject
    memory: str | int | None = None
    device: str = "cpu"
    perceptual_net: str = "vgg"
    perceptual_weights: tuple[str, ...] | None = None
    features_weights: str | None = None
    previews: bool = True
    threads: int | None = None
    rate: float | None = field(default=None, compare=False)

    @property
    def key(self) -> str:
        """File name of everything that comes of it."""
        text = f"{self.clip}--{self.subject.name}"
        plain = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in text)
        return f"{plain[:80]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def file(self, kind: str, suffix: str) -> Path:
        """Where one kind of result lies."""
        return Path(self.folder) / kind / f"{self.key}{suffix}"
