"""Noise levels to train at, and how resolution shifts them.

logit-normal   t = 1 / (1 + exp(-(m + s n))),  n ~ N(0, 1)               (arXiv:2403.03206)
shift          t' = s t / (1 + (s - 1) t)       more tokens need more noise to be equally destroyed
auto shift     s = exp(0.95 + (2.05 - 0.95) (tokens - 1024) / 3072)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vidlatent.errors import InputError

Density = Callable[[tuple[int, ...], "torch.Generator | None"], Tensor]
"""Draws noise levels of a shape, in [0, 1]."""


def uniform(shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    """Every level equally often."""
    return torch.rand(shape, generator=generator)


def logit_normal(mean: float = 0.0, std: float = 1.0) -> Density:
    """Middle levels most often."""

    def draw(shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        return torch.sigmoid(mean + std * torch.randn(shape, generator=generator))

    return draw


def mixture(share: float, first: Density, second: Density) -> Density:
    """Each entry from `first` with probability `share`, else from `second`."""

    def draw(shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        chosen = torch.rand(shape, generator=generator) < share
        return torch.where(chosen, first(shape, generator), second(shape, generator))

    return draw


def sample_times(
    batch: int,
    frames: int,
    *,
    density: Density = uniform,
    block: int | None = None,
    shift_by: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Noise levels `(batch, frames)`: one for each `block` of frames (diffusion forcing), or one a clip (None)."""
    blocks = 1 if block is None else -(-frames // block)
    t = density((batch, blocks), generator).repeat_interleave(frames if block is None else block, 1)[:, :frames]
    return shift(t, shift_by)


def shift(t: Tensor, by: float) -> Tensor:
    """Move levels towards noise (`by` > 1) or data (`by` < 1); 0 and 1 stay."""
    if by <= 0:
        raise InputError(f"shift {by}: allowed are positive numbers, 1 = none")
    return by * t / (1 + (by - 1) * t)


def auto_shift(tokens: int) -> float:
    """The shift for clips of that many tokens: log-linear, e^0.95 at 1024 and e^2.05 at 4096, as LTX-Video uses."""
    return math.exp(0.95 + (2.05 - 0.95) * (tokens - 1024) / (4096 - 1024))


def time_grid(steps: int, *, shift_by: float = 1.0) -> Tensor:
    """Levels g_0 = 0 < ... < g_steps = 1 that a frame passes from last to first, in float64."""
    if steps < 1:
        raise InputError(f"steps={steps}: allowed are numbers from 1")
    return shift(torch.linspace(0, 1, steps + 1, dtype=torch.float64), shift_by)
