"""Heads that are turned by where they are, so that scores see how far apart two places are (RoPE, arXiv:2104.09864)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_BASE = 10000.0


def dims_of_axes(head_dim: int) -> tuple[int, int, int]:
    """Channels of a head, a multiple of 8, that turn along (T, H, W): about a quarter, and the rest in equal parts.

    All are even, as pairs of neighbours turn together.
    """
    t = head_dim // 4 // 2 * 2
    t -= (head_dim - t) // 2 % 2 * 2
    return t, (head_dim - t) // 2, (head_dim - t) // 2


def rotations(places: Sequence[Tensor], head_dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines `(T, H, W, 1, pairs)` of whole-numbered `places` along each axis, in float32 at least.

    Angles are in float64, as places of long clips are far.
    """
    extent, angles = [len(along) for along in places], []
    kind = torch.promote_types(dtype, torch.float32)
    if places[0].is_meta:  # counting: how they come about takes long to go through, and nothing else
        cosines, sines = (torch.empty(*extent, 1, head_dim // 2, dtype=kind, device="meta") for _ in range(2))
        return cosines, sines
    for axis, (along, dims) in enumerate(zip(places, dims_of_axes(head_dim), strict=True)):
        powers = torch.arange(0, dims, 2, dtype=torch.double, device=along.device) / dims
        rates = (1.0 / _BASE**powers).float().double()  # published models round them
        shape = [len(along) if a == axis else 1 for a in range(3)]
        turns = (along.double()[:, None] * rates).view(*shape, 1, len(rates))
        angles.append(turns.expand(*extent, 1, len(rates)))
    joined = torch.cat(angles, -1)
    return joined.cos().to(kind), joined.sin().to(kind)


def turn(heads: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Turn `(..., T, H, W, heads, head_dim)` by cosines and sines."""
    cosines, sines = turns
    first, second = heads.unflatten(-1, (heads.shape[-1] // 2, 2)).to(cosines.dtype).unbind(-1)
    turned = torch.stack([first * cosines - second * sines, first * sines + second * cosines], -1)
    return turned.flatten(-2).to(heads.dtype)
