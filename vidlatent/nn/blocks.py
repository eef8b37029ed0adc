"""Work on the channels of every position a block of positions at a time, so that memory is read and written once."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 1 << 18
"""Numbers per block on a CPU: small enough that all passes over one stay in the cache."""


def in_blocks(x: Tensor, work: Callable[[Tensor, Tensor], None]) -> Tensor:
    """The answer (B, C, T, H, W) to `x`, where `work(rows, out)` writes positions (N, C) of it; not for training."""
    rows = x.permute(0, 2, 3, 4, 1)
    out = torch.empty(rows.shape, dtype=x.dtype, device=x.device)
    if not x.is_meta:  # counting: what a block holds is nothing beside the answer
        _write(rows, out, work)
    return out.permute(0, 4, 1, 2, 3)


def finish_(out: Tensor, scale: Tensor | None, shift: Tensor | None, *, silu: bool) -> None:
    """Scale, shift and activate positions (N, C) where they lie, as far as asked for."""
    if scale is not None:
        out.mul_(scale)
    if shift is not None:
        out.add_(shift)
    if silu:
        F.silu(out, inplace=True)


def _write(rows: Tensor, out: Tensor, work: Callable[[Tensor, Tensor], None]) -> None:
    """Into `out`, which is contiguous."""
    if not rows.is_contiguous():  # part of something larger; its frames or rows may be whole
        for source, target in zip(rows, out, strict=True):
            _write(source.contiguous() if source.ndim < 3 else source, target, work)
        return
    size, channels = max(1, BLOCK // rows.shape[-1]), rows.shape[-1]
    for source, target in zip(rows.view(-1, channels).split(size), out.view(-1, channels).split(size), strict=True):
        work(source, target)
