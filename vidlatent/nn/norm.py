"""Normalisation: per position (pointwise), per frame, per chunk of frames, or over the clip (barriers)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlatent.streaming import Barrier, H, Pointwise, Sweep, T
from vidlatent.streaming.state import drop, join

_BLOCK = 1 << 18
"""Numbers per block of a per-position norm: small enough that its passes stay in the cache."""


class RMSNorm(Pointwise):
    """Divide each position by the root mean square of its channels: `x / max(|x| / sqrt(C), eps) * weight (+ bias)`.

    `silu` applies the activation that follows in the same pass over memory.
    """

    def __init__(self, channels: int, *, bias: bool = False, silu: bool = False, eps: float = 1e-12) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None
        self.silu, self.eps = silu, eps

    def apply_to(self, x: Tensor) -> Tensor:
        rows = x.permute(0, 2, 3, 4, 1)
        # float16 cannot hold the inverse of a small norm
        if torch.is_grad_enabled() or not rows.is_contiguous() or x.is_cuda or x.dtype == torch.float16:
            return self._norm(rows).permute(0, 4, 1, 2, 3)
        flat, out = rows.flatten(0, 3), torch.empty_like(rows)
        size = max(1, _BLOCK // x.shape[1])
        for source, target in zip(flat.split(size), out.flatten(0, 3).split(size), strict=True):
            self._norm_into(source, target)
        return out.permute(0, 4, 1, 2, 3)

    def _norm(self, rows: Tensor) -> Tensor:
        """The definition, on channels-last rows; norms are taken in float32 at least."""
        wide = rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
        y = F.normalize(wide, dim=-1, eps=self.eps).to(rows.dtype) * (rows.shape[-1] ** 0.5) * self.weight
        y = y if self.bias is None else y + self.bias
        return F.silu(y) if self.silu else y

    def _norm_into(self, rows: Tensor, out: Tensor) -> None:
        """The same in place on one block: memory is read and written once."""
        wide = torch.float32 if rows.dtype in (torch.float16, torch.bfloat16) else rows.dtype
        norm = torch.linalg.vector_norm(rows, dim=-1, keepdim=True, dtype=wide).clamp_min_(self.eps)
        torch.mul(rows, (rows.shape[-1] ** 0.5 / norm).to(rows.dtype), out=out)
        out.mul_(self.weight)
        if self.bias is not None:
            out.add_(self.bias)
        if self.silu:
            F.silu(out, inplace=True)


class LayerNorm(Pointwise):
    """Normalise the channels of each position to mean 0 and variance 1, then scale and shift."""

    def __init__(self, channels: int, *, affine: bool = True, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.eps = eps

    def apply_to(self, x: Tensor) -> Tensor:
        rows = F.layer_norm(x.permute(0, 2, 3, 4, 1), (x.shape[1],), self.weight, self.bias, self.eps)
        return rows.permute(0, 4, 1, 2, 3)


class GroupNorm(Barrier):
    """Normalise groups of channels over the whole clip, over each frame, or over every so many frames.

    A barrier: over a clip along T and H, over frames along H. A number of frames is a chunk; the last may be shorter.
    On gathered slabs the statistics are a first pass (Chan's parallel variance, merged in float64) and the
    normalisation a second, slab by slab.
    """

    def __init__(
        self, groups: int, channels: int, *, over: Literal["clip", "frame"] | int = "clip", eps: float = 1e-6
    ) -> None:
        super().__init__(*((T, H) if over == "clip" else (H,)))
        if channels % groups:
            raise ValueError(f"{channels} channels do not divide into {groups} groups")
        self.groups, self.over, self.eps = groups, over, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if isinstance(self.over, int) and sweep and T in sweep.axes:
            x = sweep.state(self, T, _Chunks).feed(x, self.over, sweep.last[T])
        return super().forward(x, sweep)

    def whole(self, slabs: list[Tensor], axis: int) -> Tensor:
        if isinstance(self.over, int):
            chunks = torch.cat(slabs, axis).split(self.over, T)
            return torch.cat([F.group_norm(c, self.groups, self.weight, self.bias, self.eps) for c in chunks], T)
        if len(slabs) > 1 and not torch.is_grad_enabled():
            mean, variance = self._statistics(slabs)
            return torch.cat([self._normalise(slab, mean, variance) for slab in slabs], axis)
        x = torch.cat(slabs, axis)
        if self.over == "clip":
            return F.group_norm(x, self.groups, self.weight, self.bias, self.eps)
        b, c, t, h, w = x.shape
        frames = x.transpose(1, 2).reshape(b * t, c, h, w)
        frames = F.group_norm(frames, self.groups, self.weight, self.bias, self.eps)
        return frames.view(b, t, c, h, w).transpose(1, 2)

    def _statistics(self, slabs: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Mean and variance over all slabs, in float64: (B, groups, 1, T or 1, 1, 1)."""
        dims = (2, 3, 4, 5) if self.over == "clip" else (2, 4, 5)
        count, mean, spread = 0, torch.zeros((), dtype=torch.double), torch.zeros((), dtype=torch.double)
        for slab in slabs:
            grouped = slab.unflatten(1, (self.groups, -1)).double()
            here, here_mean = grouped[0].numel() // grouped.mean(dims)[0].numel(), grouped.mean(dims, keepdim=True)
            total, delta = count + here, here_mean - mean
            spread = spread + grouped.var(dims, unbiased=False, keepdim=True) * here + delta**2 * (count * here / total)
            count, mean = total, mean + delta * (here / total)
        return mean, spread / count

    def _normalise(self, slab: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        y = (slab.unflatten(1, (self.groups, -1)) - mean.to(slab.dtype)) * (variance + self.eps).rsqrt().to(slab.dtype)
        return y.flatten(1, 2).mul_(self.weight.view(-1, 1, 1, 1)).add_(self.bias.view(-1, 1, 1, 1))


@dataclass
class _Chunks:
    """Frames that do not fill a chunk yet."""

    waiting: Tensor | None = None

    def feed(self, x: Tensor, size: int, last: bool) -> Tensor:
        """Return whole chunks of `size` frames, at the end all that is left."""
        seen = join(self.waiting, x, T)
        ready = seen.shape[T] if last else seen.shape[T] // size * size
        self.waiting = drop(seen, T, ready).clone()
        return seen.narrow(T, 0, ready)
