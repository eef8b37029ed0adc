"""What a family knows of how others store its models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

from vidlatent.autoencoders.links import Link, Shape
from vidlatent.errors import ModelError

Naming = Literal["diffusers", "original"]
"""Whose names the keys of a checkpoint are: diffusers', or those of the model's authors."""

Config = TypeVar("Config")


@dataclass(frozen=True)
class Published:
    """A family's adapter to diffusers folders and to its authors' checkpoints.

    `read_config(values, source)` makes our configuration from a config.json and `write_config` the reverse;
    `links(config, shapes, naming)` lists every tensor under both names.
    """

    class_name: str
    read_config: Callable[[Mapping[str, Any], object], Any]
    write_config: Callable[[Any], dict[str, Any]]
    links: Callable[[Any, Mapping[str, Shape], Naming], list[Link]]


def parse_config(kind: type[Config], values: Mapping[str, Any], source: object) -> Config:
    """Make a configuration from JSON values. Raises one `ModelError` that names every unknown or wrong key."""
    from pydantic import TypeAdapter, ValidationError

    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ModelError(f"{source}: unknown configuration keys {', '.join(unknown)}; known are {', '.join(known)}")
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'config'}: {e['msg']}" for e in error.errors())
        raise ModelError(f"{source}: {problems}") from error
