"""What can be trained, by the `kind` that a configuration names."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

from vidlatent.config import read_values
from vidlatent.errors import InputError
from vidlatent.train.progress import Progress

KINDS = {"autoencoder": "vidlatent.train.autoencoder", "diffusion": "vidlatent.train.diffusion"}
"""Modules by kind, imported when asked for; each has `run(path, overrides, *, smoke, show) -> dict[str, float]`."""

Show = Callable[[Progress], None]


def run(
    path: str | Path, overrides: Sequence[str] = (), *, smoke: bool = False, show: Show | None = None
) -> dict[str, float]:
    """Train what the configuration file says, with `key=value` overrides; returns the last metrics.

    With `smoke`, the file's `smoke` section is laid over the rest: the same run, small enough for a minute on a CPU.
    Raises `InputError` before the first step for anything that is not allowed.
    """
    kind = read_values(path, overrides).get("kind")
    if kind not in KINDS:
        raise InputError(f"{path}: kind is {kind!r}; allowed are {', '.join(KINDS)}")
    return importlib.import_module(KINDS[kind]).run(path, overrides, smoke=smoke, show=show)
