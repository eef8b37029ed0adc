"""What holds for every clip of a latent dataset, and how two such settings differ."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from vidlatent.errors import InputError, LatentFileError
from vidlatent.latents.values import TYPES

FORMAT_VERSION = 1

DatasetKind = Literal["mean", "moments", "sample"]
DatasetType = Literal["bfloat16", "float16", "float32", "int8"]

_KINDS = ("mean", "moments", "sample")
_NOT_COMPARED = ("model", "version", "crc")  # told only: the fingerprint decides


@dataclass(frozen=True)
class DatasetSettings:
    """What `dataset.json` says: one autoencoder, one type of numbers, one way to make clips.

    Args:
        fingerprint: Hash of the autoencoder's configuration and weights.
        model: Name or path that it was loaded by. Not compared, the fingerprint decides.
        latent_spec: Its latent grid, as `asdict(ae.latent_spec)`: channels, stride (t, h, w), first_frame ("single" or
            "grouped"), and per-channel mean and std.
        kind: "mean" of the posterior, "moments" (mean, then log-variance along the channels), or a "sample".
        dtype: Type of the stored numbers, which are not normalised; int8 has a scale and an offset per channel.
        recipe: How clips were made of the source, as JSON values: whatever must be equal for latents to be equal, and
            what it takes to make them again.
        version: Of vidlatent, where it is known.
    """

    fingerprint: str
    model: str
    latent_spec: Mapping[str, Any]
    kind: DatasetKind = "mean"
    dtype: DatasetType = "bfloat16"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise InputError(f"kind={self.kind!r}: expected one of {', '.join(_KINDS)}")
        if self.dtype not in (*TYPES, "int8"):
            raise InputError(f"dtype={self.dtype!r}: expected one of {', '.join(TYPES)}, int8")
        missing = {"channels", "stride", "first_frame"} - set(self.latent_spec)
        if missing:
            raise InputError(f"latent_spec lacks {', '.join(sorted(missing))}: give asdict(ae.latent_spec)")
        try:
            json.dumps(dict(self.recipe), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"recipe must be JSON: {error}") from error

    @property
    def stored_channels(self) -> int:
        """Channels of a latent frame on disk: twice the autoencoder's where the log-variance is kept."""
        return int(self.latent_spec["channels"]) * (2 if self.kind == "moments" else 1)

    def latent_grid(self, num_frames: int, size: tuple[int, int]) -> tuple[int, int, int]:
        """(t, h, w) that hold `num_frames` frames of `size` (H, W)."""
        first = 1 if self.latent_spec["first_frame"] == "single" else 0
        stride_t, stride_h, stride_w = self.latent_spec["stride"]
        run = self.latent_spec.get("run", 0)  # latents after which the rule of the first frame begins anew
        runs, rest = divmod(num_frames, first + (run - first) * stride_t) if run else (0, num_frames)
        t = runs * run + (first + math.ceil((rest - first) / stride_t) if rest else 0)
        return t, math.ceil(size[0] / stride_h), math.ceil(size[1] / stride_w)

    def latent_frame(self, frame: int) -> int:
        """The latent frame that holds a video frame."""
        return self.latent_grid(frame + 1, (1, 1))[0] - 1

    def to_json(self) -> str:
        """The text of `dataset.json`."""
        values = {"format": FORMAT_VERSION, **asdict(self)}
        return json.dumps({**values, "crc": _crc(values)}, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes, *, name: str) -> DatasetSettings:
        """Inverse of `to_json`.

        Raises:
            LatentFileError: Not such a text, or of a later version; the message begins with `name`.
        """
        try:
            values = json.loads(text)
            whole = values.pop("crc") == _crc(values)
            version = int(values.pop("format"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LatentFileError(f"{name}: not the dataset.json of a latent dataset, or a damaged one") from error
        if version > FORMAT_VERSION:
            raise LatentFileError(
                f"{name}: written by a later vidlatent (format {version}, this one reads up to {FORMAT_VERSION}): "
                "pip install --upgrade vidlatent"
            )
        if not whole:
            raise LatentFileError(f"{name}: has changed since it was written: restore it, a latent is lost without it")
        return cls(**values)

    def differences(self, other: DatasetSettings) -> list[str]:
        """Every setting that is not equal, as "name: this one's -> the other's"."""
        mine, its = (dict(_flat(json.loads(settings.to_json()))) for settings in (self, other))
        names = [name for name in {**mine, **its} if name not in _NOT_COMPARED]
        absent = "nothing"
        return [
            f"{name}: {mine.get(name, absent)} -> {its.get(name, absent)}"
            for name in names
            if mine.get(name) != its.get(name)
        ]


def _crc(values: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(values, sort_keys=True).encode()):08x}"


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}" if path else name)
    else:
        yield path, json.dumps(value)
