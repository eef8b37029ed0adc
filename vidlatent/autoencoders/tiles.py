"""Overlapping parts of a clip, each a clip of its own, cross-faded linearly: what published code calls tiling.

Over the `n` items that two parts share, `b[i] = a[i] (1 - i / n) + b[i] i / n`. The answer depends on the cut; it is
here to reproduce what others computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from vidlatent.streaming import H, T, W

Run = Callable[[Tensor, int], Tensor]
"""A pass over part of the input, beside so many bytes that are held meanwhile."""


@dataclass(frozen=True)
class Tiles:
    """Rows and columns of a tile, and from one tile to the next, in latents.

    Clips of more than `beyond` are tiled, by default those larger than a tile. When decoding, `grain` pixels in a row
    have the same weight in a cross-fade.
    """

    size: tuple[int, int]
    step: tuple[int, int]
    grain: int = 1
    beyond: tuple[int, int] | None = None

    @classmethod
    def square(cls, size: int, step: int, stride: int, *, grain: int = 1) -> Tiles:
        """Of `size` x `size` pixels, `step` pixels apart, for latents of `stride` pixels."""
        return cls((size // stride,) * 2, (step // stride,) * 2, grain)


@dataclass(frozen=True)
class Runs:
    """Runs of `size` latents behind a first one, `step` from one to the next, cross-faded along time.

    Every run is a clip of its own, whose first latent is left away but in the first run. With `single=False` no first
    latent stands before the others, and none is left away. With `joined`, what does not fill a run is part of the last.
    """

    size: int
    step: int
    single: bool = True
    joined: bool = False


@dataclass(frozen=True)
class Blocks:
    """Frames, rows and columns of a block, and from one to the next, in latents; they fade in and out on all sides."""

    size: tuple[int, int, int]
    step: tuple[int, int, int]


@dataclass(frozen=True)
class Scale:
    """Items of input and of output along an axis that are one latent."""

    before: int
    after: int


def in_tiles(x: Tensor, out: Tensor, tiles: Tiles, scales: tuple[Scale, Scale], run: Run) -> Tensor:
    """Fill `out` tile by tile."""
    steps = [step * scale.before for step, scale in zip(tiles.step, scales, strict=True)]
    above: list[Tensor] = []
    for top in range(0, x.shape[H], steps[0]):
        row: list[Tensor] = []
        for left in range(0, x.shape[W], steps[1]):
            corner = [top, left]
            part = x
            for axis, start, size, scale in zip((H, W), corner, tiles.size, scales, strict=True):
                part = part.narrow(axis, start, min(size * scale.before, x.shape[axis] - start))
            held = sum(tile.nbytes for tile in (*above, *row))
            tile = run(part, held)
            for axis, neighbour, place in (
                (H, above[len(row)] if above else None, 0),
                (W, row[-1] if row else None, 1),
            ):
                if neighbour is not None:
                    overlap = (tiles.size[place] - tiles.step[place]) * scales[place].after
                    cross_fade(neighbour, tile, axis, overlap, tiles.grain if scales[place].after > 1 else 1)
            row.append(tile)
            _place(tile, out, corner, tiles, scales)
        above = row
    return out


def _place(tile: Tensor, out: Tensor, corner: list[int], tiles: Tiles, scales: tuple[Scale, Scale]) -> None:
    """Write what no later tile covers."""
    for axis, start, step, scale in zip((H, W), corner, tiles.step, scales, strict=True):
        position = start // scale.before * scale.after
        count = min(step * scale.after, tile.shape[axis], out.shape[axis] - position)
        tile, out = tile.narrow(axis, 0, count), out.narrow(axis, position, count)
    out.copy_(tile)


def in_runs(x: Tensor, out: Tensor, runs: Runs, scale: Scale, run: Run) -> Tensor:
    """Fill `out` run by run."""
    before, position, extra, length = None, 0, int(runs.single), x.shape[T]
    size, step = runs.size * scale.before + extra, runs.step * scale.before
    starts = list(range(0, length, step))
    if runs.joined and len(starts) > 1 and length - starts[-1] < size:
        starts.pop()
    for start in starts:
        is_last = start == starts[-1]
        stop = length if is_last and runs.joined else start + size
        one = run(x[:, :, start:stop], 0 if before is None else before.nbytes)
        if before is not None:
            one = one[:, :, extra:]
            cross_fade(before, one, T, (runs.size - runs.step) * scale.after, 1)
        covered = one.shape[T] if is_last else runs.step * scale.after + (extra if before is None else 0)
        count = min(covered, one.shape[T], out.shape[T] - position)
        out[:, :, position : position + count] = one[:, :, :count]
        before, position = one, position + count
    return out


def cross_fade(a: Tensor, b: Tensor, axis: int, overlap: int, grain: int) -> None:
    """Blend the end of `a` into the beginning of `b`, in place."""
    overlap = min(a.shape[axis], b.shape[axis], overlap)
    if not overlap:
        return
    start = b.narrow(axis, 0, overlap)
    weight = _ramp(start, axis, grain)
    start.mul_(weight).add_(a.narrow(axis, a.shape[axis] - overlap, overlap) * (1 - weight))


def in_blocks(x: Tensor, out: Tensor, blocks: Blocks, scales: tuple[Scale, Scale, Scale], run: Run) -> Tensor:
    """Fill `out` block by block: each adds what its weights leave of it."""
    out.zero_()
    spans = [
        list(_spans(x.shape[axis], size * scale.before, step * scale.before))
        for axis, size, step, scale in zip((T, H, W), blocks.size, blocks.step, scales, strict=True)
    ]
    for place in product(*spans):
        part, target = x, out
        for axis, (start, stop) in zip((T, H, W), place, strict=True):
            part = part.narrow(axis, start, stop - start)
        block = run(part, 0)
        for axis, span, ends, size, step, scale in zip(
            (T, H, W), place, spans, blocks.size, blocks.step, scales, strict=True
        ):
            overlap = (size - step) * scale.after
            if span != ends[0]:
                begin = block.narrow(axis, 0, overlap)
                begin.mul_(_ramp(begin, axis))
            if span != ends[-1]:
                end = block.narrow(axis, block.shape[axis] - overlap, overlap)
                end.mul_(1 - _ramp(end, axis))
            target = target.narrow(axis, span[0] // scale.before * scale.after, block.shape[axis])
        target.add_(block)
    return out


def _spans(length: int, size: int, step: int) -> Iterator[tuple[int, int]]:
    """From where to where the parts go; the last may be shorter."""
    start = 0
    while start + size < length:
        yield start, start + size
        start += step
    yield start, length


def _ramp(part: Tensor, axis: int, grain: int = 1) -> Tensor:
    """Weights that rise from 0 along `axis` towards 1, `grain` items at a time."""
    count = part.shape[axis]
    weight = torch.arange(count, device=part.device, dtype=torch.double) // grain * grain / count
    return weight.to(part.dtype).view(-1, *[1] * (part.ndim - 1 - axis))
