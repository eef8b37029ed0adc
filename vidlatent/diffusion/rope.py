"""Rotary positions along time, height and width (RoFormer, arXiv:2104.09864), one share of a head for each axis.

    angle_j(p) = p * base^(-j / n),  j = 0..n-1;   (x_j, x_{j+n}) is turned by angle_j

Positions are real numbers and angles are computed when needed: there is no table, hence no longest clip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vidlatent.errors import InputError


@dataclass(frozen=True)
class Rope:
    """Angles of a head of `head_dim`: a third of its pairs for height, a third for width, the rest for time.

    `time_frequencies`, when given, replace those of the time axis (see `riflex`).
    """

    head_dim: int
    base: float = 1e4
    time_frequencies: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.head_dim % 2 or self.head_dim < 6:
            raise InputError(f"head_dim={self.head_dim}: allowed are even numbers from 6, to turn pairs along 3 axes")

    @property
    def pairs(self) -> tuple[int, int, int]:
        """Pairs turned by time, height and width."""
        space = self.head_dim // 6
        return self.head_dim // 2 - 2 * space, space, space

    def turns(self, times: Tensor, size: tuple[int, int], registers: int = 0, *, dtype: torch.dtype) -> Tensor:
        """Cosines and sines `(2, B or 1, t, registers + h*w, head_dim / 2)` of frames at `times` `(t,)` or `(B, t)`.

        Registers lie at their frame's time, one step outside of its corner. At least float32: angles are computed in
        float64, since a time may be far from zero.
        """
        (height, width), device = size, times.device
        rows = torch.arange(height, device=device).repeat_interleave(width)
        columns = torch.arange(width, device=device).repeat(height)
        outside = torch.full((registers,), -1, device=device)
        space = torch.cat(
            [self._angles(torch.cat([outside, line]), axis) for axis, line in ((1, rows), (2, columns))], -1
        )
        time = self._angles(times if times.ndim == 2 else times[None], 0)[:, :, None].expand(-1, -1, len(space), -1)
        angles = torch.cat([time, space.expand(*time.shape[:3], -1)], -1)
        return torch.stack([angles.cos(), angles.sin()]).to(torch.promote_types(dtype, torch.float32))

    def _angles(self, positions: Tensor, axis: int) -> Tensor:
        return positions.double()[..., None] * torch.tensor(
            self.frequencies(axis), device=positions.device, dtype=torch.float64
        )

    def frequencies(self, axis: int) -> tuple[float, ...]:
        """Angle a step along time (0), height (1) or width (2), fastest first."""
        if axis == 0 and self.time_frequencies is not None:
            return self.time_frequencies
        count = self.pairs[axis]
        return tuple(self.base ** (-j / count) for j in range(count))


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turn the heads of `x` `(B, t, tokens, heads, head_dim)`, by `Rope.turns` of as many frames."""
    cos, sin = turns.unsqueeze(-2)
    first, second = x.to(cos.dtype).chunk(2, -1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1).to(x.dtype)


def riflex(rope: Rope, *, repeats_after: float, length: int, share: float = 0.9) -> Rope:
    """RIFLEx (arXiv:2502.15894): slow the frequency that makes motion repeat, so that `length` frames hold no period.

    Of the time frequencies f_j with periods 2 pi / f_j, that nearest to `repeats_after` frames (observed, about the
    trained length) becomes share * 2 pi / length.
    """
    frequencies = list(rope.frequencies(0))
    nearest = min(range(len(frequencies)), key=lambda j: abs(2 * math.pi / frequencies[j] - repeats_after))
    frequencies[nearest] = share * 2 * math.pi / length
    return replace(rope, time_frequencies=tuple(frequencies))
