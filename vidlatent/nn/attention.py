"""Attention inside a video autoencoder: within a frame, over a frame and all before it, or over a position's past."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlatent.streaming import Barrier, H, Sweep, Sweepable, T
from vidlatent.streaming.kernels import fused_attention
from vidlatent.streaming.shelf import Kept
from vidlatent.streaming.state import State

_SCORES = 1 << 26
"""Scores per call where a kernel might hold them all: 256 MiB in float32."""


class FrameAttention(Barrier):
    """Self-attention among all positions of one frame: pointwise along T, a barrier along H.

    `heads` divide the channels. Adds nothing to its input: wrap it in `Residual`, with its norm before it. Of a slab
    only keys and values are noted; queries are made when it is answered.
    """

    gathers: ClassVar[bool] = True

    def __init__(self, channels: int, *, heads: int = 1) -> None:
        super().__init__(H)
        self.heads = heads
        self.to_qkv = nn.Linear(channels, 3 * channels)
        self.to_out = nn.Linear(channels, channels)

    def note(self, x: Tensor) -> list[Tensor]:
        """Keys and values `(B, T, positions, C)` each."""
        rows = x.permute(0, 2, 3, 4, 1).flatten(2, 3)
        channels = x.shape[1]
        keys_values = F.linear(rows, self.to_qkv.weight[channels:], self.to_qkv.bias[channels:])
        return list(keys_values.chunk(2, -1))

    def merge(self, notes: list[list[Tensor]], axis: int) -> list[Tensor]:  # noqa: ARG002
        # along T of a whole clip there is one note only
        return [parts[0] if len(parts) == 1 else torch.cat(parts, 2) for parts in zip(*notes, strict=True)]

    def answer(self, x: Tensor, summary: list[Tensor]) -> Tensor:
        b, c, t, h, w = x.shape
        rows = x.permute(0, 2, 3, 4, 1).flatten(2, 3)
        queries = F.linear(rows, self.to_qkv.weight[:c], self.to_qkv.bias[:c])
        attended = torch.stack([self._attend(queries[:, i], summary, i - t) for i in range(t)], 1)
        return self.to_out(attended).view(b, t, h, w, c).permute(0, 4, 1, 2, 3)

    def _attend(self, queries: Tensor, summary: list[Tensor], frame: int) -> Tensor:
        """Queries `(B, positions, C)` of a frame, counted from the last, to the positions that they see."""
        keys, values = summary
        return attend(queries, keys[:, frame], values[:, frame], self.heads)


class CausalFrameAttention(FrameAttention):
    """Self-attention of every position to all positions of its frame and of the frames before it.

    The block-causal mask of HunyuanVideo (arXiv:2412.03603) as a predicate: position `i` of frame `f` sees position
    `j` of frame `g` where `g <= f`. It is never a tensor; keys of later frames are simply not asked. Keys and values
    of every frame so far are the state along T.
    """

    def recall(self, summary: list[Tensor], sweep: Sweep, *, first: bool) -> list[Tensor]:
        if T not in sweep.axes:
            return summary
        past = sweep.state(self, T, _Past, shared=True)
        if first or sweep.axes[-1] == T:
            past.add(summary)
        return past.all()

    def _attend(self, queries: Tensor, summary: list[Tensor], frame: int) -> Tensor:
        seen = summary[0].shape[1] + frame + 1
        keys, values = (part[:, :seen].flatten(1, 2) for part in summary)
        return attend(queries, keys, values, self.heads)


class TemporalAttention(Sweepable):
    """Causal self-attention along the frames of each position: pointwise in space, keys and values cached along T."""

    def __init__(self, channels: int, *, heads: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(channels, 3 * channels)
        self.to_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if sweep and sweep.passes(x):
            return x
        b, c, t, h, w = x.shape
        queries, *keys_values = self.to_qkv(x.permute(0, 3, 4, 2, 1).flatten(0, 2)).chunk(3, -1)
        if sweep and T in sweep.axes:
            past = sweep.state(self, T, _Past)
            past.add(keys_values)
            keys_values = past.all()
        if not x.numel():
            return x
        attended = attend(queries, keys_values[0], keys_values[1], self.heads, causal=True)
        return self.to_out(attended).view(b, h, w, t, c).permute(0, 4, 3, 1, 2)


@dataclass
class _Past(State):
    """Keys and values of all frames so far, frames along dimension 1; joined when they are asked for."""

    grows: ClassVar[bool] = True

    keys: list[Tensor | Kept] = field(default_factory=list)
    values: list[Tensor | Kept] = field(default_factory=list)

    def add(self, keys_values: list[Tensor]) -> None:
        """Frames that follow."""
        keys, values = keys_values
        self.keys, self.values = [*self.keys, self.shelf.put(keys)], [*self.values, self.shelf.put(values)]

    def lengthen(self, count: int) -> None:
        for parts in (self.keys, self.values):
            shape = list(parts[0].shape)
            shape[1] = count
            parts.append(self.shelf.put(torch.empty(shape, dtype=parts[0].dtype, device=parts[0].device)))

    def all(self) -> list[Tensor]:
        """Everything so far."""
        keys, values = (self._joined(parts) for parts in (self.keys, self.values))
        self.keys, self.values = [self.shelf.own(keys)], [self.shelf.own(values)]
        return [keys, values]

    def _joined(self, parts: list[Tensor | Kept]) -> Tensor:
        return self.shelf.get(parts[0]) if len(parts) == 1 else torch.cat([self.shelf.get(part) for part in parts], 1)


@cache
def installed(package: str) -> bool:
    """Whether a package can be imported, looked up once."""
    return find_spec(package) is not None


def xformers_kernel(queries: Tensor) -> Callable[[Tensor, Tensor, Tensor, bool], Tensor] | None:
    """Attention of `(B, n, heads, d)` by xformers, which needs no mask that is a tensor; None where it cannot answer.

    Its kernels are for CUDA; training is left to torch.
    """
    if not queries.is_cuda or torch.is_grad_enabled() or not installed("xformers"):
        return None
    from xformers.ops import LowerTriangularFromBottomRightMask, memory_efficient_attention

    def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        mask = LowerTriangularFromBottomRightMask() if causal else None
        return memory_efficient_attention(q, k, v, attn_bias=mask)

    return attention


def attend(queries: Tensor, keys: Tensor, values: Tensor, heads: int, *, causal: bool = False) -> Tensor:
    """Scaled dot-product attention of `(B, queries, C)` to `(B, keys, C)`; returns `(B, queries, C)`.

    With `causal` the queries are those of the last keys, and each sees no key behind its own. Where xformers is
    installed it answers on CUDA; elsewhere queries go in blocks, so that no score matrix is held whatever kernel
    answers.
    """
    q, k, v = (part.unflatten(-1, (heads, -1)) for part in (queries, keys, values))
    kernel = xformers_kernel(q)
    if kernel is not None:
        return kernel(q, k, v, causal).flatten(2)
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    attention = fused_attention if q.is_meta else F.scaled_dot_product_attention
    if causal:
        seen = k.shape[2] - q.shape[2]
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril(seen) if seen else None
        out = attention(q, k, v, attn_mask=mask, is_causal=mask is None)
    else:
        size = max(1, _SCORES // (q.shape[0] * heads * k.shape[2]))
        size = max(size, q.shape[2] // 2) if q.is_meta else size  # counting: two blocks tell of all
        blocks = [attention(block, k, v) for block in q.split(size, 2)]
        out = blocks[0] if len(blocks) == 1 else torch.cat(blocks, 2)
    return out.transpose(1, 2).flatten(2)
