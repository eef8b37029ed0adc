"""What travels with each clip of a latent dataset, and the key that it is known by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from vidlatent.errors import InputError, LatentFileError
from vidlatent.latents.meta import ClipSource
from vidlatent.latents.ticks import Ticks

_FRACTIONS = ("start_seconds", "stop_seconds", "fps")


@dataclass(frozen=True)
class ClipMeta:
    """Everything about a clip that is not in its latents.

    Args:
        num_frames: Video frames that were encoded.
        size: (H, W) of those frames, before they were padded to the stride.
        fps: Frame rate, the average one where it varies.
        pts_seconds: Exact time of every frame in its source, never decreasing; empty where unknown.
        source: The file or URL, its hash, the span taken, the size and rate it was brought to.
        caption: What it shows.
        columns: Further columns of the manifest, as JSON values.
    """

    num_frames: int
    size: tuple[int, int]
    fps: Fraction
    pts_seconds: Sequence[Fraction] = ()
    source: ClipSource = field(default_factory=ClipSource)
    caption: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.num_frames < 1 or min(self.size) < 1 or self.fps <= 0:
            raise InputError(f"a clip has frames, a size and a rate, not {self.num_frames}, {self.size}, {self.fps}")
        if self.pts_seconds and len(self.pts_seconds) != self.num_frames:
            raise InputError(
                f"{len(self.pts_seconds)} frame times for {self.num_frames} frames: give one each, or none"
            )

    @property
    def seconds(self) -> Fraction:
        """How long the clip lasts."""
        return self.num_frames / Fraction(self.fps)

    def to_json(self) -> str:
        """One JSON object: times as ticks of `time_base` seconds, fractions as text.

        Raises:
            InputError: Frame times go back, or a column is not a JSON value.
        """
        ticks = Ticks()
        ticks.extend(self.pts_seconds)
        record = {
            "num_frames": self.num_frames,
            "size": list(self.size),
            "fps": str(self.fps),
            "time_base": str(ticks.time_base),
            "pts": ticks.tolist(),
            "source": {name: str(v) if isinstance(v, Fraction) else v for name, v in vars(self.source).items()},
            "caption": self.caption,
            "columns": dict(self.columns),
        }
        try:
            return json.dumps(record, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"columns of a clip are JSON values: {error}") from error

    @classmethod
    def from_json(cls, text: str | bytes) -> ClipMeta:
        """Inverse of `to_json`. Raises `LatentFileError` where the text is not of that form."""
        return cls.from_record(parse(text))

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ClipMeta:
        """The same from the JSON object."""
        with _told():
            source: dict[str, Any] = dict(record["source"])
            for name in _FRACTIONS:
                source[name] = None if source[name] is None else Fraction(source[name])
            source["size"] = tuple(source["size"]) if source["size"] else None
            return cls(
                num_frames=record["num_frames"],
                size=tuple(record["size"]),
                fps=Fraction(record["fps"]),
                pts_seconds=Ticks(record["pts"], per_second=Fraction(record["time_base"]).denominator),
                source=ClipSource(**source),
                caption=record["caption"],
                columns=record["columns"],
            )


class Descriptions:
    """What travels with the clips of a batch, one for each; parsed when it is looked at, as most are not.

    No `Sequence`: a `DataLoader` looks into those when it pins memory.
    """

    def __init__(self, texts: Sequence[bytes]) -> None:
        self._texts = texts

    @property
    def captions(self) -> list[str]:
        """Captions alone."""
        with _told():
            return [parse(_without_times(text))["caption"] for text in self._texts]

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, row: int) -> ClipMeta:
        return ClipMeta.from_json(self._texts[row])

    def __iter__(self) -> Iterator[ClipMeta]:
        return map(ClipMeta.from_json, self._texts)


def _without_times(text: bytes) -> bytes:
    """A description from the source on: what `ClipMeta.to_json` writes before it are numbers, and most of the text."""
    at = text.find(b'"source": ') if text.startswith(b'{"num_frames": ') else -1
    return text if at < 0 else b"{" + text[at:]


def parse(text: str | bytes) -> dict[str, Any]:
    """A clip's JSON object. Raises `LatentFileError` where it is none."""
    with _told():
        record = json.loads(text if isinstance(text, str) else text.decode())
        return {**record}


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise LatentFileError(f"a clip's description is damaged: {error}") from error


def content_key(
    content_hash: str,
    start: Fraction | None = None,
    stop: Fraction | None = None,
    transform: Mapping[str, Any] | None = None,
) -> str:
    """Key of a clip: 32 hex digits that depend on the bytes of its source, the span and the transform; on no name.

    Args:
        content_hash: Of the source's bytes, as `vidlatent.latents.content_hash` gives it.
        start, stop: Seconds in the source, None for its own ends.
        transform: What was done to the frames, as JSON values: size, rate, crop.
    """
    span = [None if at is None else str(Fraction(at)) for at in (start, stop)]
    text = json.dumps([content_hash, span, dict(transform or {})], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
