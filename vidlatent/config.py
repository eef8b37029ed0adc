"""Runs are YAML files, one a run, validated before the first step: an unknown key is an error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from vidlatent.errors import InputError


class RunConfig(BaseModel):
    """Base of every run's configuration: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Config = TypeVar("Config", bound=RunConfig)


def load_config(kind: type[Config], path: str | Path, overrides: Sequence[str] = (), *, smoke: bool = False) -> Config:
    """Read a run from YAML; `overrides` and `smoke` as in `read_values`. Raises `InputError` naming every bad key."""
    try:
        return kind.model_validate(read_values(path, overrides, smoke=smoke))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'config'}: {e['msg']}" for e in error.errors())
        raise InputError(f"{path}: {problems}. Known keys: {', '.join(kind.model_fields)}") from error


def read_values(path: str | Path, overrides: Sequence[str] = (), *, smoke: bool = False) -> dict[str, Any]:
    """The values of a YAML file before they are validated, with `key=value` overrides (values are YAML).

    A key may reach inside: `stages.0.steps=10`. With `smoke`, the file's section of that name is laid over the rest
    before overrides are; it is never part of what is returned.
    """
    try:
        values = yaml.safe_load(Path(path).read_text()) or {}
        if not isinstance(values, dict):
            raise InputError(f"{path}: expected keys and values, got {type(values).__name__}")
        small = values.pop("smoke", None)
        if smoke and not isinstance(small, dict):
            raise InputError(f"{path}: has no section 'smoke'")
        values = _laid_over(values, small) if smoke else values
        for override in overrides:
            key, found, value = override.partition("=")
            if not found:
                raise InputError(f"{override!r}: an override is key=value")
            _set(values, key.split("."), yaml.safe_load(value))
        return values
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path}: {error}") from error


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Both, key by key; where they differ, `above`."""
    both = dict(below)
    for key, value in above.items():
        inside = isinstance(value, dict) and isinstance(below.get(key), dict)
        both[key] = _laid_over(below[key], value) if inside else value
    return both


def _set(values: Any, keys: list[str], value: Any) -> None:
    first, *rest = keys
    if isinstance(values, list):
        if not first.isdigit() or int(first) >= len(values):
            raise InputError(f"override {'.'.join(keys)}: expected a number below {len(values)} in place of {first!r}")
        index: Any = int(first)
    elif isinstance(values, dict):
        index = first
    else:
        raise InputError(f"override {'.'.join(keys)}: there are no keys inside {values!r}")
    if rest:
        if isinstance(values, dict):
            values.setdefault(index, {})
        _set(values[index], rest, value)
    else:
        values[index] = value
