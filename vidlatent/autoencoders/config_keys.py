"""One table between the keys of a diffusers config.json and the fields of a configuration of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Generic

from vidlatent.autoencoders.published import Config, parse_config
from vidlatent.errors import ModelError


@dataclass(frozen=True)
class ConfigKeys(Generic[Config]):
    """How diffusers' `class_name` writes a configuration of `kind`.

    `names` maps their keys to our fields. `fixed` are keys with one supported value, `per_level` those that repeat one
    supported value for each entry of our field `widths`. `ignored` are keys that do not change the model, with the
    value to write. `absent` are diffusers' own values of keys that a file leaves away, where they differ from our
    defaults.
    """

    class_name: str
    kind: type[Config]
    names: Mapping[str, str]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    per_level: Mapping[str, Any] = field(default_factory=dict)
    ignored: Mapping[str, Any] = field(default_factory=dict)
    absent: Mapping[str, Any] = field(default_factory=dict)

    def read(self, values: Mapping[str, Any], source: object) -> Config:
        """Our configuration. Raises `ModelError` for keys and values that are not supported here."""
        given = {**self.absent, **{key: value for key, value in values.items() if not key.startswith("_")}}
        known = [*self.names, *self.fixed, *self.per_level, *self.ignored]
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ModelError(f"{source}: unknown keys {', '.join(unknown)}; {self.class_name} has {', '.join(known)}")
        for key, expected in self.fixed.items():
            if given.get(key, expected) != expected:
                raise ModelError(f"{source}: {key} is {given[key]!r}, only {expected!r} is supported here")
        for key, expected in self.per_level.items():
            if any(value != expected for value in given.get(key, [])):
                raise ModelError(f"{source}: {key} is {given[key]!r}, only {expected!r} is supported here")
        return parse_config(self.kind, {ours: given[key] for key, ours in self.names.items() if key in given}, source)

    def write(self, config: Config) -> dict[str, Any]:
        """A config.json. Raises `ModelError` where the configuration has what `class_name` cannot say."""
        for ours in fields(self.kind):  # type: ignore[arg-type]
            value = getattr(config, ours.name)
            if ours.name not in self.names.values() and value != ours.default:
                raise ModelError(
                    f"{self.class_name} has no {ours.name}, which is {value!r} here: leave it at {ours.default!r}"
                )
        named = {theirs: _plain(getattr(config, ours)) for theirs, ours in self.names.items()}
        repeated = {key: [value] * len(config.widths) for key, value in self.per_level.items()}  # type: ignore[attr-defined]
        return {"_class_name": self.class_name, **self.fixed, **self.ignored, **repeated, **named}


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
