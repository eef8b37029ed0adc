"""Runs are YAML files, one a run, validated before the first step: an unknown key is an error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

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
        raise InputError(f"{path}: {explain(error, kind)}") from error


def explain(error: ValidationError, kind: type[BaseModel]) -> str:
    """What is wrong with values of `kind` in one line: each key, what it was given, what is allowed."""
    found = [problem for problem in error.errors() if problem["type"] != "too_short" or not problem["input"]]
    return "; ".join(_problem(tuple(problem["loc"]), problem["msg"], problem["input"], kind) for problem in found)


def _problem(key: tuple[int | str, ...], message: str, given: Any, kind: type[BaseModel]) -> str:
    name = ".".join(map(str, key))
    if message == "Extra inputs are not permitted":
        known = ", ".join(_kind_at(kind, key[:-1]).model_fields)
        return f"{name}: there is no such key" + (f"; known are {known}" if known else "")
    own = message.removeprefix("Value error, ")
    if own != message or not name:
        return f"{name}: {own}" if name else own
    given = "nothing" if message == "Field required" else repr(given)
    return f"{name}: {own[:1].lower()}{own[1:]}, got {given}"


def _kind_at(kind: Any, key: Sequence[int | str]) -> type[BaseModel]:
    """The configuration that stands at a key, found by annotations; where they are ambiguous, one without fields."""
    for name in key:
        if isinstance(name, str):
            kind = kind.model_fields[name].annotation if name in getattr(kind, "model_fields", {}) else BaseModel
        inside = [kind, *get_args(kind)]
        kind = next((k for k in inside if isinstance(k, type) and issubclass(k, BaseModel)), BaseModel)
    return kind


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
            _set(values, key, yaml.safe_load(value))
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


def _set(values: Any, key: str, value: Any) -> None:
    """Put a value at a key that reaches inside; dicts on the way are made."""
    *way, last = key.split(".")
    for name in way:
        index = _index(values, name, key)
        if isinstance(values, dict):
            values.setdefault(index, {})
        values = values[index]
    values[_index(values, last, key)] = value


def _index(values: Any, name: str, key: str) -> Any:
    if isinstance(values, dict):
        return name
    if not isinstance(values, list):
        raise InputError(f"override {key}: there are no keys inside {values!r}")
    if not name.isdigit() or int(name) >= len(values):
        raise InputError(f"override {key}: expected a number below {len(values)} in place of {name!r}")
    return int(name)
