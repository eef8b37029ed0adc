"""Runs are YAML files, one a run, validated before the first step: an unknown key is an error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from vidlatent.errors import InputError


class RunConfig(BaseModel):
    """Base of every run's configuration: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Config = TypeVar("Config", bound=RunConfig)


def load_config(kind: type[Config], path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a run from YAML, with `key=value` overrides (values are YAML). Raises `InputError` naming every bad key."""
    try:
        values = yaml.safe_load(Path(path).read_text()) or {}
        for override in overrides:
            key, found, value = override.partition("=")
            if not found:
                raise InputError(f"{override!r}: an override is key=value")
            values[key] = yaml.safe_load(value)
        return kind.model_validate(values)
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path}: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'config'}: {e['msg']}" for e in error.errors())
        raise InputError(f"{path}: {problems}. Known keys: {', '.join(kind.model_fields)}") from error
