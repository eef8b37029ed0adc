"""Queries and keys that are turned by where they are, so that scores see how far apart they are."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlatent.nn.passed import items_before
from vidlatent.streaming import H, Sweep, Sweepable, T

_BASE = 10000.0


class Place(NamedTuple):
    """Frame and row at which a slab begins."""

    frame: int
    row: int


class RotatedHeads(Sweepable):
    """Queries, keys and values of each position, in heads, turned along (T, H, W) (RoPE, arXiv:2104.09864).

    Three times the channels leave, as `NeighbourhoodAttention` takes them. Queries and keys of a head are divided by
    their root mean square first. Of a head's `head_dim` channels, a multiple of 8, about a quarter is turned by the
    frame, the rest by row and column in equal parts, pairs of neighbours together.
    """

    def __init__(self, channels: int, head_dim: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        if channels % head_dim or head_dim % 8:
            raise ValueError(f"{channels} channels do not divide into heads of {head_dim}, a multiple of 8")
        self.head_dim, self.eps = head_dim, eps
        self.to_qkv = nn.Linear(channels, 3 * channels)
        self.norm_q, self.norm_k = (nn.Parameter(torch.ones(head_dim)) for _ in range(2))

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if sweep is None:
            return self.at(x, Place(0, 0))
        if sweep.passes(x):
            return x
        place = Place(items_before(self, x, sweep, T), items_before(self, x, sweep, H))
        return sweep.attempt(self.at, x, place)

    def at(self, x: Tensor, place: Place) -> Tensor:
        """The heads of a slab that begins there."""
        parts = self.to_qkv(x.permute(0, 2, 3, 4, 1))
        queries, keys, values = parts.chunk(3, -1)
        cosines, sines = self._rotations(x, place)
        turned = [self._turn(p, norm, cosines, sines) for p, norm in ((queries, self.norm_q), (keys, self.norm_k))]
        return torch.cat([*turned, values], -1).permute(0, 4, 1, 2, 3)

    def _turn(self, part: Tensor, weight: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        heads = part.unflatten(-1, (part.shape[-1] // self.head_dim, self.head_dim))
        heads = F.rms_norm(heads, (self.head_dim,), weight, self.eps)
        first, second = heads.unflatten(-1, (self.head_dim // 2, 2)).to(cosines.dtype).unbind(-1)
        turned = torch.stack([first * cosines - second * sines, first * sines + second * cosines], -1)
        return turned.flatten(-3).to(part.dtype)

    def _rotations(self, x: Tensor, place: Place) -> tuple[Tensor, Tensor]:
        """Cosines and sines `(T, H, W, 1, pairs)`, in float32 at least; angles in float64, as clips are long."""
        starts, extent, angles = (*place, 0), x.shape[T:], []
        for axis, (start, count, dims) in enumerate(zip(starts, extent, self.dims, strict=True)):
            powers = torch.arange(0, dims, 2, dtype=torch.double, device=x.device) / dims
            rates = (1.0 / _BASE**powers).float().double()  # published models round them
            shape = [count if a == axis else 1 for a in range(3)]
            steps = torch.arange(start, start + count, dtype=torch.double, device=x.device)
            angles.append((steps[:, None] * rates).view(*shape, 1, len(rates)).expand(*extent, 1, len(rates)))
        turns = torch.cat(angles, -1)
        kind = torch.promote_types(x.dtype, torch.float32)
        return turns.cos().to(kind), turns.sin().to(kind)

    @property
    def dims(self) -> tuple[int, int, int]:
        """Channels of a head that turn along each axis; even, so that pairs stay together."""
        t = self.head_dim // 4 // 2 * 2
        t -= (self.head_dim - t) // 2 % 2 * 2
        return t, (self.head_dim - t) // 2, (self.head_dim - t) // 2
