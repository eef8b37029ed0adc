"""Diffusion models on latents: `run` reads a configuration and trains by its method."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from vidlatent.config import load_config
from vidlatent.train.diffusion_config import DiffusionConfig
from vidlatent.train.diffusion_data import Latents
from vidlatent.train.kinds import Show
from vidlatent.train.loop import train
from vidlatent.train.task import Task

METHODS = {
    "flow": "vidlatent.train.flow",
    "consistency": "vidlatent.train.distill_consistency",
    "dmd": "vidlatent.train.distill_dmd",
    "ladd": "vidlatent.train.distill_ladd",
}
"""Modules by method; each has `make_task(config, latents) -> Task`."""


def run(
    path: str | Path, overrides: Sequence[str] = (), *, smoke: bool = False, show: Show | None = None
) -> dict[str, float]:
    """Train the diffusion model that a configuration file describes; see `kinds.run`."""
    config = load_config(DiffusionConfig, path, overrides, smoke=smoke)
    return train(make_task(config), config, config.stages, show=show)


def make_task(config: DiffusionConfig) -> Task:
    """The training of a configuration, its data read."""
    return importlib.import_module(METHODS[config.method.name]).make_task(config, Latents(config))
