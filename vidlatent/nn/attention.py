"""Attention inside a video autoencoder: over the positions of a frame, or over the past of a position."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlatent.streaming import Barrier, H, Sweep, Sweepable, T
from vidlatent.streaming.state import join


class FrameAttention(Barrier):
    """Self-attention among all positions of one frame: pointwise along T, a barrier along H.

    `heads` divide the channels. Adds nothing to its input: wrap it in `Residual`, with its norm before it.
    """

    def __init__(self, channels: int, *, heads: int = 1) -> None:
        super().__init__(H)
        self.heads = heads
        self.to_qkv = nn.Linear(channels, 3 * channels)
        self.to_out = nn.Linear(channels, channels)

    def whole(self, slabs: list[Tensor], axis: int) -> Tensor:
        x = torch.cat(slabs, axis)
        b, c, t, h, w = x.shape
        tokens = x.permute(0, 2, 3, 4, 1).reshape(b * t, h * w, c)
        attended = attend(self.to_qkv(tokens), self.heads)
        return self.to_out(attended).view(b, t, h, w, c).permute(0, 4, 1, 2, 3)


class TemporalAttention(Sweepable):
    """Causal self-attention along the frames of each position: pointwise in space, keys and values cached along T."""

    def __init__(self, channels: int, *, heads: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(channels, 3 * channels)
        self.to_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        b, c, t, h, w = x.shape
        qkv = self.to_qkv(x.permute(0, 3, 4, 2, 1).reshape(b * h * w, t, c))
        if sweep and T in sweep.axes:
            past = sweep.state(self, T, _Past)
            past.keys_values = qkv = join(past.keys_values, qkv, 1)
        if not x.numel():
            return x
        attended = attend(qkv, self.heads, num_queries=t)
        return self.to_out(attended).view(b, h, w, t, c).permute(0, 4, 3, 1, 2)


@dataclass
class _Past:
    """Projections of every frame seen so far: (positions, frames, 3C)."""

    keys_values: Tensor | None = None


def attend(qkv: Tensor, heads: int, *, num_queries: int | None = None) -> Tensor:
    """Scaled dot-product attention over `(batch, tokens, 3C)`; with `num_queries`, causal for the last so many tokens.

    Returns `(batch, queries, C)`. No score matrix and no mask is held where torch has a fused kernel.
    """
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in qkv.chunk(3, -1))
    if num_queries is None:
        out = F.scaled_dot_product_attention(q, k, v)
    elif num_queries == k.shape[2]:
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    else:
        seen = k.shape[2] - num_queries
        mask = torch.ones(num_queries, k.shape[2], dtype=torch.bool, device=q.device).tril(seen)
        out = F.scaled_dot_product_attention(q[:, :, seen:], k, v, attn_mask=mask)
    return out.transpose(1, 2).flatten(2)
