"""What travels with a clip's latents: which clip, which part of it, which autoencoder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

Kind = Literal["mean", "moments"]
StoredType = Literal["float16", "bfloat16", "float32"]

_HASH_BLOCK_BYTES = 2**20


@dataclass(frozen=True)
class ClipSource:
    """Where a clip's frames come from, and what was done to them before encoding.

    `uri` is a path or URL and `sha256` the hash of all its bytes, empty where unknown. `start_seconds` and
    `stop_seconds` are what was asked for (None: the clip's own ends), `fps` and `size` (H, W) what it was brought to
    (None: its own). `fit` is how: the excess cut off ("crop") or the aspect changed ("stretch").
    """

    uri: str = ""
    sha256: str = ""
    start_seconds: Fraction | None = None
    stop_seconds: Fraction | None = None
    fps: Fraction | None = None
    size: tuple[int, int] | None = None
    fit: Literal["crop", "stretch"] = "crop"


@dataclass(frozen=True)
class LatentMeta:
    """Everything about a clip's latents that is not in the tensors.

    Args:
        model: Name or path that the autoencoder was loaded by.
        fingerprint: Hash of its configuration and weights.
        latent_spec: Its latent grid: channels, stride (t, h, w), first_frame, and per-channel mean and std.
        size: (H, W) of the frames that were encoded, before they were padded to the stride.
        fps: Frame rate, the average one where it varies.
        source: The clip.
        kind: "mean", or "moments": mean and log-variance along the channels.
        dtype: Type of the stored numbers; they are not normalised.
        num_frames: Video frames in the clip. Like all below, filled in by `LatentWriter`.
        time_base: Seconds per tick of the `pts` tensor.
        sha256: Hash of the tensors' bytes as they lie in the file.
        version: Of vidlatent.
    """

    model: str
    fingerprint: str
    latent_spec: Mapping[str, Any]
    size: tuple[int, int]
    fps: Fraction
    source: ClipSource = field(default_factory=ClipSource)
    kind: Kind = "mean"
    dtype: StoredType = "float16"
    num_frames: int = 0
    time_base: Fraction = Fraction(1)
    sha256: str = ""
    version: str = ""

    def to_strings(self) -> dict[str, str]:
        """Flat text, as safetensors metadata must be; what is None is left out."""
        flat = _strings(self)
        return flat | {f"source_{key}": value for key, value in _strings(self.source).items()}

    @classmethod
    def from_strings(cls, flat: Mapping[str, str]) -> LatentMeta:
        """Inverse of `to_strings`. Raises `KeyError` or `ValueError` where a field is missing or malformed."""
        inner = {key.removeprefix("source_"): text for key, text in flat.items() if key.startswith("source_")}
        return cls(**_parse(cls, flat), source=ClipSource(**_parse(ClipSource, inner)))


def _size(text: str) -> tuple[int, int]:
    height, width = text.split("x")
    return int(height), int(width)


def _spec(text: str) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in json.loads(text).items()}


_PARSERS: dict[str, Callable[[str], Any]] = {
    "latent_spec": _spec,
    "size": _size,
    "num_frames": int,
    **dict.fromkeys(("fps", "time_base", "start_seconds", "stop_seconds"), Fraction),
}


def _strings(record: LatentMeta | ClipSource) -> dict[str, str]:
    flat = {}
    for name in (f.name for f in fields(record)):
        value = getattr(record, name)
        if value is None or isinstance(value, ClipSource):
            continue
        if name == "size":
            flat[name] = f"{value[0]}x{value[1]}"
        else:
            text = json.dumps(dict(value)) if isinstance(value, Mapping) else str(value)
            # File names that are not UTF-8 come from Python with surrogates, which JSON readers refuse.
            flat[name] = text.encode("utf-8", "replace").decode()
    return flat


def _parse(kind: type[LatentMeta | ClipSource], flat: Mapping[str, str]) -> dict[str, Any]:
    names = [f.name for f in fields(kind) if f.name in flat and f.name != "source"]
    return {name: _PARSERS.get(name, str)(flat[name]) for name in names}


def content_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of all bytes of a file, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
