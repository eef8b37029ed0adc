"""Attention of positions to windows of positions, a few rows and columns of queries at a time."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vidlatent.streaming.kernels import fused_attention

_TILE = 4
"""Rows and columns of queries that share a run of keys: more would mask more keys, fewer copy more."""


class WindowTiles:
    """Attention to windows of `kernel` (T, H, W) positions in heads of `head_dim`.

    `like` is `(B, C, T, H, W)`, of which every position with a whole window around it is answered; `beyond` says how
    many columns are to be added to it, so that tiles fit.
    """

    def __init__(self, kernel: tuple[int, int, int], head_dim: int, like: Tensor) -> None:
        self.kernel, self.head_dim = kernel, head_dim
        extent = zip(like.shape[2:], kernel, strict=True)
        self.frames, self.rows, self.width = (length - size + 1 for length, size in extent)
        self.count = math.ceil(self.width / _TILE)
        self.columns = math.ceil(self.width / self.count)
        self.beyond = self.count * self.columns - self.width
        heights = {min(_TILE, self.rows), self.rows % _TILE} - {0}
        self._masks = {height: self._mask(height, like) for height in heights}

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Answers `(B, T, H, W, C)` to queries, keys and values `(B, T, H, W, C)` of all positions."""
        kt, kh, kw = self.kernel
        inside = (slice(length // 2, length // 2 + n) for length, n in ((kt, self.frames), (kh, self.rows)))
        queries = queries[(slice(None), *inside, slice(kw // 2, kw // 2 + self.count * self.columns))]
        strips = []
        for top in range(0, min(self.rows, _TILE) if queries.is_meta else self.rows, _TILE):
            height = min(_TILE, self.rows - top)
            seen = slice(top, top + height + kh - 1)
            strip = self._strip(queries[:, :, top : top + height], keys[:, :, seen], values[:, :, seen])
            strips.append(strip[:, :, :, : self.width])
        if queries.is_meta:  # counting: what goes on in the first strip tells of all
            strips = [queries.new_empty(*queries.shape[:3], self.width, queries.shape[-1])]
        return torch.cat(strips, 2)

    def _strip(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        b, frames, height, _, channels = queries.shape
        q = queries.reshape(b, frames, height, self.count, self.columns, -1, self.head_dim)
        q = q.permute(0, 3, 5, 1, 2, 4, 6).flatten(4, 5).flatten(0, 1)
        k, v = self._tiles(keys), self._tiles(values)
        attention, answers = fused_attention if q.is_meta else F.scaled_dot_product_attention, []
        for t in range(1 if q.is_meta else frames):
            here, there = (part[:, :, t : t + self.kernel[0]].flatten(2, 3) for part in (k, v))
            answers.append(attention(q[:, :, t], here, there, attn_mask=self._masks[height]))
        if q.is_meta:
            return queries.new_empty(queries.shape)
        out = torch.stack(answers, 2).view(b, self.count, -1, frames, height, self.columns, self.head_dim)
        return out.permute(0, 3, 4, 1, 5, 2, 6).reshape(b, frames, height, -1, channels)

    def _tiles(self, x: Tensor) -> Tensor:
        """What the tiles of a strip see, of which frames are views: `(B * tiles, heads, T, positions, head_dim)`."""
        tiles = x.unfold(3, self.columns + self.kernel[2] - 1, self.columns).unflatten(4, (-1, self.head_dim))
        return tiles.permute(0, 3, 4, 1, 2, 6, 5).flatten(4, 5).flatten(0, 1)

    def _mask(self, height: int, like: Tensor) -> Tensor:
        """0 where a query of a tile sees a key, minus infinity elsewhere: `(queries, positions)`."""
        kt, kh, kw = self.kernel
        if like.is_meta:
            return like.new_empty(height * self.columns, kt * (height + kh - 1) * (self.columns + kw - 1))
        along_h, along_w = (_band(n, size, like.device) for n, size in ((height, kh), (self.columns, kw)))
        sees = along_h[:, None, None, :, None] & along_w[None, :, None, None, :]
        sees = sees.expand(-1, -1, kt, -1, -1).flatten(0, 1).flatten(1)
        return torch.zeros(sees.shape, dtype=like.dtype, device=like.device).masked_fill_(~sees, -math.inf)


def _band(count: int, kernel: int, device: torch.device) -> Tensor:
    """Which of `count + kernel - 1` items each of `count` windows holds."""
    ahead = torch.arange(count + kernel - 1, device=device) - torch.arange(count, device=device)[:, None]
    return (ahead >= 0) & (ahead < kernel)
