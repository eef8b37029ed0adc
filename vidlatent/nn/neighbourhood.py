"""Attention of every position to those around it, and the window that is pushed inwards at the ends of an axis.

At the end of an axis a window is not padded but moved, so that it always holds as many items (arXiv:2204.07143).
Attention does not ask in which order keys come. So the axis is continued with the period of the kernel, and every
window lies in the middle again: around the first item of `0 1 2 3 4 ...` a kernel of 5 reads `3 4 0 1 2`. Copies keep
the place of what they are copied from, by which they are turned.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlatent.errors import InputError
from vidlatent.nn.rotary import rotations, turn
from vidlatent.nn.window_tiles import WindowTiles
from vidlatent.streaming import H, Halo, Local, Sweep, T, W, Window


@dataclass(frozen=True)
class _Inside(Window):
    """Windows that lie inside the axis; the last is kept, because the end goes on from it."""

    @property
    def history(self) -> int:
        return self.kernel


@dataclass
class _Moved(Halo):
    """A halo whose ends go on with the period of the kernel; the front needs a whole window first.

    `total` counts the items that came, `first` is the place of the first item of the last run, `given` that of the next
    answer.
    """

    total: int = 0
    first: int = 0
    given: int = 0

    def join(self, x: Tensor, axis: int) -> None:
        self.total += x.shape[axis]
        super().join(x, axis)

    def give(self, axis: int, window: Window, last: bool, *, bare: bool = False) -> Tensor:
        assert self.carry is not None
        seen = self.shelf.get(self.carry)
        if not self.started and not last and seen.shape[axis] < window.kernel:
            self.carry = self.shelf.put(seen)
            return seen.narrow(axis, 0, 0)
        reach = window.kernel // 2
        front, back = 0 if self.started else reach, reach if last and not self.tail else 0
        self.carry = seen if self.ended else _go_on(seen, axis, front, back)
        run = super().give(axis, _Inside(window.kernel), last, bare=bare)
        self.first = self.given - reach
        self.given += window.num_valid(run.shape[axis])
        return run

    def places(self, kernel: int, count: int) -> list[int]:
        """Where the items of the last run, so many, come from."""
        run = range(self.first, self.first + count)
        return [p + kernel if p < 0 else p - kernel if p >= self.total else p for p in run]


class NeighbourhoodAttention(Local):
    """Softmax attention of each position to the `kernel` (T, H, W; odd) of positions around it, as many at every end.

    Queries and keys, in heads of `head_dim`, are divided by their root mean square and turned by frame, row and column.
    Does not project its answer. Between two slabs it keeps its input, of which it projects a window's length again:
    queries, keys and values would be three times as much. Raises `InputError` where an axis is shorter than its kernel.
    """

    halo = _Moved

    def __init__(self, channels: int, kernel: tuple[int, int, int], head_dim: int, *, eps: float = 1e-6) -> None:
        if any(size % 2 == 0 for size in kernel):
            raise ValueError(f"kernels must be odd, got {kernel}")
        if channels % head_dim or head_dim % 8:
            raise ValueError(f"{channels} channels do not divide into heads of {head_dim}, a multiple of 8")
        t, h, w = map(Window.centred, kernel)
        super().__init__(t=t, h=h, w=w)
        self.kernel, self.head_dim, self.eps = kernel, head_dim, eps
        self.to_qkv = nn.Linear(channels, 3 * channels)
        self.norm_q, self.norm_k = (nn.Parameter(torch.ones(head_dim)) for _ in range(2))

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if sweep and sweep.passes(x) and not (sweep.idle and self._wakes(sweep)):
            return x
        if sweep and len(sweep.axes) == 1 and sweep.is_waiting(x):
            return x
        places = {axis: list(range(x.shape[axis])) for axis in self.windows}
        for axis, window in self._in_order(sweep):
            if window.is_pointwise:
                continue
            x, halo = self._through_halo(x, axis, window, sweep)
            assert isinstance(halo, _Moved)
            places[axis] = halo.places(window.kernel, x.shape[axis])
        counts = [window.num_valid(x.shape[axis]) for axis, window in self.windows.items()]
        if not x.numel() or not all(counts):
            return self.empty_like(x, *counts)
        if sweep:
            sweep.begin(self, x)
        along = [torch.tensor(places[axis], device=x.device) for axis in self.windows]
        return sweep.attempt(self.answer, x, *along) if sweep else self.answer(x, *along)

    def answer(self, x: Tensor, times: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Answers for the positions of a run that have a whole window around them; then the places of its items."""
        tiles = WindowTiles(self.kernel, self.head_dim, x)
        places = [times, rows, F.pad(columns, (0, tiles.beyond))]
        heads = self._heads(F.pad(x, (0, tiles.beyond)) if tiles.beyond else x, places)
        return tiles.attend(*heads).permute(0, 4, 1, 2, 3)

    def _heads(self, x: Tensor, places: list[Tensor]) -> list[Tensor]:
        """Queries, keys and values of every position, `(B, T, H, W, C)` each."""
        parts = list(self.to_qkv(x.permute(0, 2, 3, 4, 1)).chunk(3, -1))
        times, *others = places
        weights = (self.norm_q, self.norm_k)
        if torch.is_grad_enabled():
            turns = rotations([times, *others], self.head_dim, x.dtype)
            return [*(self._turned(p, w, turns) for p, w in zip(parts, weights, strict=False)), parts[2]]
        for t in range(1 if x.is_meta else len(times)):
            turns = rotations([times[t : t + 1], *others], self.head_dim, x.dtype)
            for part, weight in zip(parts, weights, strict=False):
                part[:, t : t + 1].copy_(self._turned(part[:, t : t + 1], weight, turns))
        return parts

    def _turned(self, part: Tensor, weight: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
        heads = part.unflatten(-1, (part.shape[-1] // self.head_dim, self.head_dim))
        return turn(F.rms_norm(heads, (self.head_dim,), weight, self.eps), turns).flatten(-2)


def _go_on(x: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Continue an axis at both ends, with the period of the kernel that reaches so far."""
    length, kernel = x.shape[axis], 2 * max(before, after) + 1
    if not length or kernel == 1:
        return x
    if length < kernel:
        if not x.numel():  # nothing stands there
            return x.new_empty([n + before + after if a == axis else n for a, n in enumerate(x.shape)])
        name = {T: "frames", H: "rows", W: "columns"}[axis]
        raise InputError(f"attention to {kernel} {name} needs as many, got {length}")
    return torch.cat([x.narrow(axis, kernel - before, before), x, x.narrow(axis, length - kernel, after)], axis)
