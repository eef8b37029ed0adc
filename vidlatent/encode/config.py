"""An encoding run as YAML, and as the file beside a dataset by which it is started again."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, ValidationError

from vidlatent.config import RunConfig
from vidlatent.encode.engines import Engine
from vidlatent.encode.job import Precision
from vidlatent.encode.policy import Tail
from vidlatent.errors import InputError, LatentFileError
from vidlatent.io.rates import as_fps
from vidlatent.latents.dataset.folder import open_folder
from vidlatent.latents.dataset.settings import DatasetKind, DatasetType

JOB_FILE = "job.json"


def _sources(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _size(value: Any) -> Any:
    """480, [480, 832] or "480x832"."""
    if isinstance(value, str):
        sides = [int(side) for side in value.split("x")]
        return sides[0] if len(sides) == 1 else sides
    return value


def _rate(value: Any) -> Any:
    return as_fps(Fraction(value) if isinstance(value, str) else value) if value is not None else None


class EncodeConfig(RunConfig):
    """The arguments of `encode_dataset`, by the same names."""

    source: Annotated[list[str], BeforeValidator(_sources)]
    out: str
    model: str
    engine: Engine = "local"
    workers: int | None = None
    decoders: int | None = None
    device: str = "auto"
    precision: Precision = "auto"
    memory: int | str | None = None
    batch: int | None = None
    buffer: int | str = 2**28
    size: Annotated[int | tuple[int, int] | None, BeforeValidator(_size)] = None
    frames: int | None = None
    stride: int | None = None
    fps: Annotated[Fraction | None, BeforeValidator(_rate), PlainSerializer(lambda f: f and str(f))] = None
    tail: Tail = "drop"
    buckets: tuple[str, ...] = ()
    kind: DatasetKind = "mean"
    dtype: DatasetType = "bfloat16"
    path_column: str = ""
    caption_column: str = ""
    timeout_seconds: float = 60.0
    max_failures: int | None = None
    retry_failed: bool = False
    shard_bytes: int | str = 2**30
    commit_seconds: float = 10.0

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments."""
        return {name: getattr(self, name) for name in type(self).model_fields}


def validated(values: dict[str, Any], name: str) -> EncodeConfig:
    """A configuration from plain values. Raises `InputError` naming every bad key."""
    try:
        return EncodeConfig.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'config'}: {e['msg']}" for e in error.errors())
        raise InputError(f"{name}: {problems}") from error


def save_job(config: EncodeConfig) -> None:
    """Keep beside a dataset how it was made. Raises `LatentFileError` where it cannot be written."""
    text = config.model_dump_json(indent=1, exclude={"retry_failed", "out"})
    open_folder(config.out).write(JOB_FILE, text.encode())


def saved_job(out: str) -> EncodeConfig:
    """How a dataset was made. Raises `LatentFileError` where it does not say."""
    try:
        (text,) = open_folder(out).read([JOB_FILE])
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LatentFileError(f"{out}: has no {JOB_FILE}, so its source and model must be given") from error
    try:
        return EncodeConfig.model_validate({**json.loads(text), "out": out})
    except (ValidationError, ValueError, TypeError) as error:
        raise LatentFileError(f"{out}/{JOB_FILE}: damaged: give source and model, and it is written anew") from error
