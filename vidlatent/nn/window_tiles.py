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
    """Attention to windows of `kernel` (T, H, W) positions in heads of `head_dim`, for frames of `like`'s size.

    `like` is `(B, C, T, H, W)`, of which every position with a whole window around it is answered.
    """

    def __init__(self, kernel: tuple[int, int, int], head_dim: int, like: Tensor) -> None:
        self.kernel, self.head_dim = kernel, head_dim
        self.rows, self.width = like.shape[3] - kernel[1] + 1, like.shape[4] - kernel[2] + 1
        self.columns = math.ceil(self.width / math.ceil(self.width / _TILE))
        heights = {min(_TILE, self.rows), self.rows % _TILE} - {0}
        self._masks = {height: self._mask(height, like) for height in heights}

    def frame(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Answers `(B, rows, columns, C)` to queries `(B, H, W, C)`; keys and values are `(B, kernel[0], H, W, C)`."""
        _, kh, kw = self.kernel
        queries = queries[:, kh // 2 : kh // 2 + self.rows, kw // 2 : kw // 2 + self.width]
        strips = []
        for top in range(0, min(self.rows, _TILE) if queries.is_meta else self.rows, _TILE):
            height = min(_TILE, self.rows - top)
            seen = slice(top, top + height + kh - 1)
            strips.append(self._strip(queries[:, top : top + height], keys[:, :, seen], values[:, :, seen]))
        if queries.is_meta:  # counting: the first strip tells of all
            return queries.new_empty(queries.shape)
        return torch.cat(strips, 1)

    def _strip(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        b, height, width, _ = queries.shape
        count = math.ceil(width / self.columns)
        beyond = (0, 0, 0, count * self.columns - width)  # of tiles: what is asked there is left away
        q = F.pad(queries, beyond).view(b, height, count, self.columns, -1, self.head_dim)
        q = q.permute(0, 2, 4, 1, 3, 5).flatten(3, 4).flatten(0, 1)
        k, v = (self._tiles(F.pad(part, beyond)) for part in (keys, values))
        attention = fused_attention if q.is_meta else F.scaled_dot_product_attention
        out = attention(q, k, v, attn_mask=self._masks[height]).view(b, count, -1, height, self.columns, self.head_dim)
        return out.permute(0, 3, 1, 4, 2, 5).reshape(b, height, count * self.columns, -1)[:, :, :width]

    def _tiles(self, x: Tensor) -> Tensor:
        """What the tiles of a strip see: `(B * tiles, heads, positions, head_dim)`."""
        tiles = x.unfold(3, self.columns + self.kernel[2] - 1, self.columns).unflatten(4, (-1, self.head_dim))
        return tiles.permute(0, 3, 4, 1, 2, 6, 5).flatten(3, 5).flatten(0, 1)

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
