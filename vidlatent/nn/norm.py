"""Normalisation: per position (pointwise), per frame, per chunk of frames, or over the clip (barriers)."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlatent.nn.blocks import BLOCK, finish_, in_blocks
from vidlatent.streaming import Barrier, H, Pointwise, Sweep, T
from vidlatent.streaming.shelf import Kept
from vidlatent.streaming.state import State, drop, join

_SUMMED = 64
"""Numbers summed in their own precision at least; longer sums lose digits."""


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
        # float16 cannot hold the inverse of a small norm
        if torch.is_grad_enabled() or x.is_cuda or x.dtype == torch.float16:
            return self._norm(x.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)
        return in_blocks(x, self._norm_into)

    def _norm(self, rows: Tensor) -> Tensor:
        """The definition, on channels-last rows; norms are taken in float32 at least."""
        wide = rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
        y = F.normalize(wide, dim=-1, eps=self.eps).to(rows.dtype) * (rows.shape[-1] ** 0.5) * self.weight
        y = y if self.bias is None else y + self.bias
        return F.silu(y) if self.silu else y

    def _norm_into(self, rows: Tensor, out: Tensor) -> None:
        """The same on one block."""
        wide = torch.float32 if rows.dtype in (torch.float16, torch.bfloat16) else rows.dtype
        norm = torch.linalg.vector_norm(rows, dim=-1, keepdim=True, dtype=wide).clamp_min_(self.eps)
        torch.mul(rows, (rows.shape[-1] ** 0.5 / norm).to(rows.dtype), out=out)
        finish_(out, self.weight, self.bias, silu=self.silu)


class LayerNorm(Pointwise):
    """Normalise the channels of each position to mean 0 and variance 1, then scale and shift.

    `silu` applies the activation that follows in the same memory.
    """

    def __init__(self, channels: int, *, affine: bool = True, silu: bool = False, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.silu, self.eps = silu, eps

    def apply_to(self, x: Tensor) -> Tensor:
        rows = F.layer_norm(x.permute(0, 2, 3, 4, 1), (x.shape[1],), self.weight, self.bias, self.eps)
        rows = F.silu(rows, inplace=not torch.is_grad_enabled()) if self.silu else rows
        return rows.permute(0, 4, 1, 2, 3)


class GroupNorm(Barrier):
    """Normalise groups of channels over the whole clip, over each frame, or over every so many frames.

    A barrier: over a clip along T and H, over frames along H. A number of frames is a chunk; the last may be shorter.
    Two passes: of each slab mean and variance are noted and merged (Chan's parallel variance) in float64, then each
    slab is normalised. torch's own kernel is not used: with channels last it sums in float32 and loses digits. `silu`
    applies the activation that follows in the same pass over memory.
    """

    def __init__(
        self,
        groups: int,
        channels: int,
        *,
        over: Literal["clip", "frame"] | int = "clip",
        silu: bool = False,
        eps: float = 1e-6,
    ) -> None:
        super().__init__(*((T, H) if over == "clip" else (H,)))
        if channels % groups:
            raise ValueError(f"{channels} channels do not divide into {groups} groups")
        self.groups, self.over, self.silu, self.eps = groups, over, silu, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if isinstance(self.over, int) and sweep and T in sweep.axes and not sweep.passes(x):
            x = sweep.state(self, T, _Chunks).feed(x, self.over, sweep.last[T])
        return super().forward(x, sweep)

    def note(self, x: Tensor) -> list[Tensor]:
        """Count, mean and variance per group and run of frames: `(B, groups, runs)`, float64."""
        frames, per_frame = x.shape[2], x.shape[1] // self.groups * x.shape[3] * x.shape[4]
        size = min(frames, 1 if self.over == "frame" else self.over if isinstance(self.over, int) else frames)
        if x.is_meta:  # counting: statistics are small, and what making them takes is nothing beside the clip
            return [x.new_empty(3, x.shape[0], self.groups, ceil(frames / size), dtype=torch.double)]
        whole, merged = frames // size * size, []
        moments = [part.unflatten(1, (self.groups, -1)) for part in _frame_moments(x)]
        for run, length in ((slice(whole), size), (slice(whole, frames), frames - whole)):
            if length:
                means, variances = (part[..., run].unflatten(-1, (-1, length)) for part in moments)
                mean, variance = _of_equal_counts(means, variances, (2, 4))
                merged.append([torch.full_like(mean, length * per_frame), mean, variance])
        return merged[0] if len(merged) == 1 else [torch.cat(parts, -1) for parts in zip(*merged, strict=True)]

    def merge(self, notes: list[list[Tensor]], axis: int) -> list[Tensor]:  # noqa: ARG002
        if notes[0][0].is_meta:
            return notes[0]
        count, mean, variance = notes[0]
        for here, here_mean, here_variance in notes[1:]:
            total, delta = count + here, here_mean - mean
            variance = (variance * count + here_variance * here + delta**2 * (count * here / total)) / total
            count, mean = total, mean + delta * (here / total)
        return [mean, variance]

    def answer(self, x: Tensor, summary: list[Tensor]) -> Tensor:
        b, c, t, h, w = x.shape
        if x.is_meta:
            return torch.empty_like(x, memory_format=torch.channels_last_3d)
        scale, shift = self.scale_and_shift(x, summary)
        if torch.is_grad_enabled() or x.is_cuda:
            y = torch.addcmul(shift, x, scale)
            return F.silu(y) if self.silu else y
        out = torch.empty(b, t, h, w, c, dtype=x.dtype, device=x.device)
        factor, offset = (
            part.permute(0, 2, 3, 4, 1).expand(b, t, 1, 1, c).reshape(b * t, 1, c) for part in (scale, shift)
        )
        rows = x.permute(0, 2, 3, 4, 1).reshape(b * t, h * w, c)
        self._scale_into(rows, factor, offset, out.view(b * t, h * w, c))
        return out.permute(0, 4, 1, 2, 3)

    def _scale_into(self, rows: Tensor, scale: Tensor, shift: Tensor, out: Tensor) -> None:
        """Scale, shift and activate `(frames, positions, C)` a block at a time: memory is read and written once."""
        _, positions, c = rows.shape
        few, thin = max(1, BLOCK // (c * positions)), max(1, BLOCK // c)
        for *frames, factor, offset in zip(*(part.split(few) for part in (rows, out, scale, shift)), strict=True):
            for source, target in zip(*(part.split(thin, 1) for part in frames), strict=True):
                torch.addcmul(offset, source, factor, out=target)
                if self.silu:
                    F.silu(target, inplace=True)

    def scale_and_shift(self, x: Tensor, summary: list[Tensor]) -> tuple[Tensor, Tensor]:
        """What a slab is multiplied by, and what is added: `(B, C, T or 1, 1, 1)`, of its type."""
        mean, variance = (self._per_frame_and_channel(part, x.shape[2]) for part in summary)
        scale = self.weight.double() * (variance + self.eps).rsqrt()
        shift = self.bias.double() - mean * scale
        # channels lie innermost, as in the activations, or this would be ten times slower
        scale, shift = (part.to(x.dtype)[:, :, None, None].permute(0, 4, 1, 2, 3) for part in (scale, shift))
        return scale, shift

    def _per_frame_and_channel(self, part: Tensor, frames: int) -> Tensor:
        """`(B, groups, runs)` to `(B, frames, C)`, one frame standing for all where they are normalised together."""
        spread = part.transpose(1, 2).repeat_interleave(self.weight.numel() // self.groups, 2)
        return spread if isinstance(self.over, str) else spread.repeat_interleave(self.over, 1)[:, :frames]


def _frame_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel in each frame: `(B, C, T)`, float64."""
    if torch.is_grad_enabled() or x.is_cuda:
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        variance, mean = torch.var_mean(wide, (3, 4), correction=0)
        return mean.double(), variance.double()
    b, c, t, h, w = x.shape
    frames, thin = x.permute(0, 2, 3, 4, 1).flatten(0, 1), max(1, BLOCK // (w * c))
    blocks = [_block_moments(block) for block in frames.split(thin, 1)]
    means, variances = (torch.stack(parts, -1) for parts in zip(*blocks, strict=True))
    weight = torch.tensor([min(thin, h - start) / h for start in range(0, h, thin)], dtype=torch.double)
    mean = means @ weight
    variance = (variances + (means - mean[..., None]).square_()) @ weight
    return mean.view(b, t, c).transpose(1, 2), variance.view(b, t, c).transpose(1, 2)


def _block_moments(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of `(frames, H, W, C)` in float64: `(frames, C)`.

    Torch's statistics of a batch norm take one number after the other, two passes over what stays in the cache. So each
    is asked for about `_SUMMED` positions only, as many channels side by side, and these are merged in float64.
    """
    _, h, w, c = frames.shape
    wide = frames.float() if frames.dtype in (torch.float16, torch.bfloat16) else frames
    rows = h * next(parts for parts in range(1, w + 1) if w % parts == 0 and (h * parts >= _SUMMED or parts == w))
    statistics = [torch.ops.aten.batch_norm_update_stats(frame.reshape(rows, -1), None, None, 0.0) for frame in wide]
    means, variances = (torch.stack(parts).double().view(len(frames), -1, c) for parts in zip(*statistics, strict=True))
    return _of_equal_counts(means, variances, (1,))


def _of_equal_counts(means: Tensor, variances: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Mean and variance of all that parts of one size hold, which lie along `dims`."""
    parts = prod(means.shape[dim] for dim in dims)  # sums, as counting memory takes a `mean` apart in Python
    mean = means.sum(dims, keepdim=True) / parts
    return mean.squeeze(dims), (variances.sum(dims) + (means - mean).square_().sum(dims)) / parts


@dataclass
class _Chunks(State):
    """Frames that do not fill a chunk yet."""

    waiting: Tensor | Kept | None = None

    def feed(self, x: Tensor, size: int, last: bool) -> Tensor:
        """Return whole chunks of `size` frames, at the end all that is left."""
        held, self.waiting = self.waiting, None
        seen = x if held is None else join(self.shelf.get(held), x, T)
        del held
        ready = seen.shape[T] if last else seen.shape[T] // size * size
        self.waiting = self.shelf.put(drop(seen, T, ready))
        return seen.narrow(T, 0, ready)
