"""Every autoencoder by name: one explicit table, and the way to one with random weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from vidlatent.autoencoders.base import Autoencoder
from vidlatent.autoencoders.families import FAMILIES
from vidlatent.autoencoders.tiny.model import TinyConfig
from vidlatent.autoencoders.wan.presets import WAN_21, WAN_22
from vidlatent.errors import ModelError


@dataclass(frozen=True)
class Entry:
    """A preset: its family, its configuration, and the licence of its published weights."""

    family: str
    config: Any
    licence: str


CATALOG: dict[str, Entry] = {
    "vidlatent-tiny": Entry("tiny", TinyConfig(), "Apache-2.0"),
    "wan-2.1": Entry("wan", WAN_21, "Apache-2.0"),
    "wan-2.2": Entry("wan", WAN_22, "Apache-2.0"),
}


def models() -> list[str]:
    """Every name that `build` takes."""
    return list(CATALOG)


def build(name: str, *, seed: int = 0, **overrides: Any) -> Autoencoder:
    """Build a preset with random weights; `overrides` are fields of its configuration (`base_dim=16`).

    Raises `ModelError` for an unknown name or field, naming those there are.
    """
    if name not in CATALOG:
        raise ModelError(f"no model named {name!r}; there are {', '.join(CATALOG)}")
    entry = CATALOG[name]
    unknown = set(overrides) - set(vars(entry.config))
    if unknown:
        raise ModelError(f"{name} has no {', '.join(sorted(unknown))}; it has {', '.join(vars(entry.config))}")
    config = replace(entry.config, **overrides)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Autoencoder(entry.family, config, FAMILIES[entry.family].build(config)).eval()
