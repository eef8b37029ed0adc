"""Attention of every position to those around it, and the window that is pushed inwards at the ends of an axis.

At the end of an axis a window is not padded but moved, so that it always holds as many items (arXiv:2204.07143).
Attention does not ask in which order keys come. So the axis is continued with the period of the kernel, and every
window lies in the middle again: around the first item of `0 1 2 3 4 ...` a kernel of 5 reads `3 4 0 1 2`. Keys must
know their place before, not from where they lie in the window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vidlatent.errors import InputError
from vidlatent.streaming import H, Halo, Local, Sweep, T, W, Window
from vidlatent.streaming.kernels import fused_attention

_TILE = 4
"""Rows and columns of queries that share a run of keys: more would mask more keys, fewer copy more."""


class NeighbourhoodAttention(Local):
    """Softmax attention of each position to the `kernel` (T, H, W; odd) of positions around it, as many at every end.

    Channels are queries, keys and values, in heads of `head_dim`; scores are divided by its root. Neither projects nor
    adds its input. Raises `InputError` where an axis is shorter than its kernel.
    """

    def __init__(self, kernel: tuple[int, int, int], head_dim: int) -> None:
        if any(size % 2 == 0 for size in kernel):
            raise ValueError(f"kernels must be odd, got {kernel}")
        t, h, w = map(_Inside, kernel)
        super().__init__(t=t, h=h, w=w)
        self.kernel, self.head_dim = kernel, head_dim

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if sweep and sweep.passes(x) and not (sweep.idle and self._wakes(sweep)):
            return x
        if sweep and len(sweep.axes) == 1 and sweep.is_waiting(x):
            return self.empty_like(x, *x.shape[T:])
        for axis, window in self._in_order(sweep):
            if window.is_pointwise:
                continue
            if sweep and axis in sweep.axes:
                halo = sweep.state(self, axis, _Moved)
                if axis == sweep.axes[0]:
                    sweep.enter(halo, x)
                sweep.attempt(halo.join, x, axis)
                x = sweep.attempt(halo.give, axis, window, sweep.last[axis])
                sweep.last[axis] = halo.ended
            else:
                x = go_on(x, axis, window.kernel // 2, window.kernel // 2)
        counts = [window.num_valid(x.shape[axis]) for axis, window in self.windows.items()]
        if not x.numel() or not all(counts):
            return self.empty_like(x, *counts)
        return sweep.attempt(self.valid, x, (0, 0, 0), 0) if sweep else self.valid(x, (0, 0, 0), 0)

    def _wakes(self, sweep: Sweep) -> bool:
        outer = sweep.axes[0]
        if self.windows[outer].is_pointwise:
            return False
        halo = sweep.state(self, outer, _Moved)
        if halo.tail and not halo.ended:
            sweep.wake(halo)
        return not sweep.idle

    def valid(self, x: Tensor, padding: tuple[int, ...], lacking: int) -> Tensor:  # noqa: ARG002
        kt, kh, kw = self.kernel
        queries, keys, values = x.permute(0, 2, 3, 4, 1).chunk(3, -1)
        b, t, h, w, _ = queries.shape
        t, h, w = t - kt + 1, h - kh + 1, w - kw + 1
        queries = queries[:, kt // 2 : kt // 2 + t, kh // 2 : kh // 2 + h, kw // 2 : kw // 2 + w]
        columns = math.ceil(w / math.ceil(w / _TILE))
        masks = {rows: self._mask(rows, columns, x) for rows in {min(_TILE, h), h % _TILE} - {0}}
        frames = []
        for frame in range(1 if x.is_meta else t):  # counting: the first tells of all
            seen, strips = slice(frame, frame + kt), []
            for top in range(0, min(h, _TILE) if x.is_meta else h, _TILE):
                rows = min(_TILE, h - top)
                there = slice(top, top + rows + kh - 1)
                strip = queries[:, frame, top : top + rows], keys[:, seen, there], values[:, seen, there]
                strips.append(self._strip(*strip, columns, masks[rows]))
            frames.append(torch.cat(strips, 1))
        out = frames[0].new_empty(b, t, h, w, frames[0].shape[-1]) if x.is_meta else torch.stack(frames, 1)
        return out.permute(0, 4, 1, 2, 3)

    def _strip(self, queries: Tensor, keys: Tensor, values: Tensor, columns: int, mask: Tensor) -> Tensor:
        """Queries `(B, rows, W, C)` of one frame to the keys and values `(B, kt, rows + kh - 1, W + kw - 1, C)`."""
        b, rows, w, _ = queries.shape
        count = math.ceil(w / columns)
        beyond = (0, 0, 0, count * columns - w)  # of tiles: what is asked there is left away
        q = F.pad(queries, beyond).view(b, rows, count, columns, -1, self.head_dim)
        q = q.permute(0, 2, 4, 1, 3, 5).flatten(3, 4).flatten(0, 1)
        k, v = (self._tiles(F.pad(part, beyond), columns) for part in (keys, values))
        attention = fused_attention if q.is_meta else F.scaled_dot_product_attention
        out = attention(q, k, v, attn_mask=mask).view(b, count, -1, rows, columns, self.head_dim)
        return out.permute(0, 3, 1, 4, 2, 5).reshape(b, rows, count * columns, -1)[:, :, :w]

    def _tiles(self, x: Tensor, columns: int) -> Tensor:
        """What the tiles of a strip see: `(B * tiles, heads, positions, head_dim)`."""
        tiles = x.unfold(3, columns + self.kernel[2] - 1, columns).unflatten(4, (-1, self.head_dim))
        return tiles.permute(0, 3, 4, 1, 2, 6, 5).flatten(3, 5).flatten(0, 1)

    def _mask(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """0 where a query of a tile sees a key, minus infinity elsewhere: `(queries, positions)`."""
        kt, kh, kw = self.kernel
        along_h, along_w = (_band(n, size, like.device) for n, size in ((rows, kh), (columns, kw)))
        sees = along_h[:, None, None, :, None] & along_w[None, :, None, None, :]
        sees = sees.expand(rows, columns, kt, rows + kh - 1, columns + kw - 1).reshape(rows * columns, -1)
        return torch.zeros(sees.shape, dtype=like.dtype, device=like.device).masked_fill_(~sees, -math.inf)

    def empty_like(self, x: Tensor, t: int, h: int, w: int) -> Tensor:
        return x.new_empty(x.shape[0], x.shape[1] // 3, t, h, w)


def _band(count: int, kernel: int, device: torch.device) -> Tensor:
    """Which of `count + kernel - 1` items each of `count` windows holds."""
    ahead = torch.arange(count + kernel - 1, device=device) - torch.arange(count, device=device)[:, None]
    return (ahead >= 0) & (ahead < kernel)


def go_on(x: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Continue an axis at both ends, with the period of the kernel that reaches so far."""
    if not (before or after):
        return x
    length, kernel = x.shape[axis], 2 * max(before, after) + 1
    if not x.numel():
        shape = list(x.shape)
        shape[axis] = length + before + after if length else 0
        return x.new_empty(shape)
    if length < kernel:
        name = {T: "frames", H: "rows", W: "columns"}[axis]
        raise InputError(f"attention to {kernel} {name} needs as many, got {length}")
    return torch.cat([x.narrow(axis, kernel - before, before), x, x.narrow(axis, length - kernel, after)], axis)


@dataclass(frozen=True)
class _Inside(Window):
    """Windows that lie inside the axis; the last is kept, because the end goes on from it."""

    @property
    def history(self) -> int:
        return self.kernel


@dataclass
class _Moved(Halo):
    """A halo whose ends go on with the period of the kernel; the front needs a whole window first."""

    def give(self, axis: int, window: Window, last: bool, *, bare: bool = False) -> Tensor:
        assert self.carry is not None
        seen = self.shelf.get(self.carry)
        if not self.started and not last and seen.shape[axis] < window.kernel:
            self.carry = self.shelf.put(seen)
            return seen.narrow(axis, 0, 0)
        reach = window.kernel // 2
        front = 0 if self.started else reach
        self.carry = seen if self.ended else go_on(seen, axis, front, reach if last and not self.tail else 0)
        return super().give(axis, window, last, bare=bare)
