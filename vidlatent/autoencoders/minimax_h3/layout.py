"""Tiles of rows and columns, cross-faded where they meet.

    starts of tiles:   as few as cover the axis with at least `overlap` between two; what is too much widens overlaps
    over the n items that two tiles share:   b[i] = a[i] (1 - i / n) + b[i] i / n

Unlike tiles that only save memory these are the model: norms, paddings and positions are those of a tile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from torch import Tensor

from vidlatent.autoencoders.tiles import cross_fade
from vidlatent.streaming import H, W

Body = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Layout:
    """Rows or columns of a tile and of the least overlap of two, in latents; `before` and `after` items are one."""

    size: int
    overlap: int
    before: int
    after: int

    def spans(self, length: int) -> list[tuple[int, int]]:
        """Where each tile starts, and how much of it the next covers, over an axis of `length` latents."""
        if length <= self.size:
            return [(0, 0)]
        step = self.size - self.overlap
        count = -(-(length - self.overlap) // step)
        more, rest = divmod(self.overlap + count * step - length, count - 1)
        overlaps = [self.overlap + more + (index < rest) for index in range(count - 1)]
        starts = accumulate((self.size - overlap for overlap in overlaps), initial=0)
        return list(zip(starts, [*overlaps, 0], strict=True))


def in_tiles(x: Tensor, layout: Layout, body: Body) -> Tensor:
    """`body` on every tile of `x`, joined; whole where one tile holds it."""
    rows, columns = layout.spans(x.shape[H] // layout.before), layout.spans(x.shape[W] // layout.before)
    out: Tensor | None = None
    above: list[Tensor | None] = [None] * len(columns)
    for row, (top, below) in enumerate(rows):
        left: Tensor | None = None
        for column, (start, beside) in enumerate(columns):
            tile = body(_part(_part(x, H, top, layout), W, start, layout))
            down, right = (_end(tile, axis, count * layout.after) for axis, count in ((H, below), (W, beside)))
            if (up := above[column]) is not None:
                cross_fade(up, tile, H, rows[row - 1][1] * layout.after, 1)
            if left is not None:
                cross_fade(left, tile, W, columns[column - 1][1] * layout.after, 1)
            above[column], left = down, right
            if out is None:
                size = (x.shape[axis] // layout.before * layout.after for axis in (H, W))
                out = tile.new_empty(*tile.shape[:3], *size)
            place = out[:, :, :, top * layout.after :, start * layout.after :]
            kept = tile[..., : tile.shape[H] - below * layout.after, : tile.shape[W] - beside * layout.after]
            place[..., : kept.shape[H], : kept.shape[W]] = kept
    assert out is not None
    return out


def _part(x: Tensor, axis: int, start: int, layout: Layout) -> Tensor:
    start, size = start * layout.before, layout.size * layout.before
    return x.narrow(axis, start, min(size, x.shape[axis] - start))


def _end(tile: Tensor, axis: int, count: int) -> Tensor:
    """The last items, as they are before anything is faded into them."""
    return tile.narrow(axis, tile.shape[axis] - count, count).clone()
