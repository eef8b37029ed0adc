"""What a family knows of how others store its models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, NoReturn, TypeVar

from torch import Tensor

from vidlatent.autoencoders.links import Link, Shape
from vidlatent.errors import ModelError

Naming = Literal["diffusers", "original", "early"]
"""Whose names the keys of a checkpoint are: diffusers', those of the model's authors, or diffusers' of 2022."""

Config = TypeVar("Config")


def _all_weights(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    return {}, tensors


def _no_others(config: Any) -> dict[str, Tensor]:  # noqa: ARG001
    return {}


@dataclass(frozen=True)
class Published:
    """A family's adapter to diffusers folders and to its authors' checkpoints.

    `read_config(values, source)` makes our configuration from a config.json and `write_config` the reverse;
    `links(config, shapes, naming)` lists every tensor under both names, for each of `namings` that exist. Where a
    checkpoint holds more than weights, `unpack(tensors)` gives the fields of our configuration that it says and the
    weights alone, and `pack(config)` the tensors that say them in diffusers' format. `class_name` is "" where diffusers
    has no such class.
    """

    class_name: str
    read_config: Callable[[Mapping[str, Any], object], Any]
    write_config: Callable[[Any], dict[str, Any]]
    links: Callable[[Any, Mapping[str, Shape], Naming], list[Link]]
    unpack: Callable[[Mapping[str, Tensor]], tuple[dict[str, Any], Mapping[str, Tensor]]] = _all_weights
    pack: Callable[[Any], dict[str, Tensor]] = _no_others
    namings: tuple[Naming, ...] = ("diffusers", "original")


def no_folder(what: str) -> Callable[..., NoReturn]:
    """What stands for `read_config` and `write_config` where diffusers has no such class: an error that says so."""

    def refuse(*_: Any) -> NoReturn:
        raise ModelError(f"diffusers has no {what}: keep it in a checkpoint of ours (save_checkpoint)")

    return refuse


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
