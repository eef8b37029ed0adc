"""Every autoencoder by name: one explicit table, and the ways to get one with weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from vidlatent.autoencoders.base import Autoencoder, Trees
from vidlatent.autoencoders.tiny.model import TinyConfig
from vidlatent.autoencoders.tiny.model import build as build_tiny
from vidlatent.errors import ModelError


@dataclass(frozen=True)
class Entry:
    """A preset: its family, its configuration and how the family builds it."""

    family: str
    config: Any
    build: Callable[[Any], Trees]


CATALOG: dict[str, Entry] = {
    "vidlatent-tiny": Entry("tiny", TinyConfig(), build_tiny),
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
        return Autoencoder(entry.family, config, entry.build(config)).eval()
