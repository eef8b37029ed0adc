"""Chunks of frames that an operator along time does not see beyond, though it sees what came before.

`ChunkCausal` makes of an operator with one frame of context on either side one that sees the frame before a chunk, but
zeros behind it: a zero and a copy of the frame before are put between chunks, and what comes of them is left away.
`Afresh` makes of one that sees the frame before one that sees a zero in front of every chunk, in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vidlatent.nn.combine import Chain
from vidlatent.nn.passed import frames_before
from vidlatent.streaming import Sweep, Sweepable, T

_BETWEEN = 2
"""Frames put between two chunks."""


class ChunkCausal(Chain):
    """`operator`, which sees the frames before and after and keeps their number, on chunks of `size` frames."""

    def __init__(self, operator: Sweepable, size: int) -> None:
        super().__init__(_Bridge(size), operator, Keep(0, size, size + _BETWEEN))


class Afresh(Chain):
    """`operator`, which sees the frame before and keeps the number of frames, on chunks of `size` frames."""

    def __init__(self, operator: Sweepable, size: int) -> None:
        super().__init__(Lead(size, 1), operator, unlead(size, 1))


class Lead(Sweepable):
    """Put `count` frames of zeros in front of every chunk of `size` frames."""

    def __init__(self, size: int, count: int) -> None:
        super().__init__()
        self.size, self.count = size, count

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if sweep and sweep.passes(x):
            return x
        pieces: list[Tensor] = []
        for start, piece in _cut(x, frames_before(self, x, sweep), self.size):
            if start % self.size == 0:
                pieces.append(x.new_zeros(*x.shape[:2], self.count, *x.shape[3:]))
            pieces.append(piece)
        return torch.cat(pieces, T) if len(pieces) > 1 else x


class Keep(Sweepable):
    """Of every `period` frames those from `start` to `stop`."""

    def __init__(self, start: int, stop: int, period: int) -> None:
        super().__init__()
        self.start, self.stop, self.period = start, stop, period

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if sweep and sweep.passes(x):
            return x
        pieces = []
        for at, piece in _cut(x, frames_before(self, x, sweep), self.period):
            start, stop = (max(edge - at % self.period, 0) for edge in (self.start, self.stop))
            pieces.append(piece[:, :, start:stop])
        return torch.cat(pieces, T) if len(pieces) > 1 else (pieces or [x])[0]


def unlead(size: int, count: int) -> Keep:
    """Leave away the first `count` frames in front of every `size`: the inverse of `Lead`."""
    return Keep(count, count + size, count + size)


class _Bridge(Sweepable):
    """Put a zero and the frame before in front of every chunk but the first."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if sweep and sweep.passes(x):
            return x
        seen = sweep.state(self, T, _Seen) if sweep and T in sweep.axes else _Seen()
        pieces: list[Tensor] = []
        for start, piece in _cut(x, seen.count, self.size):
            if start and start % self.size == 0:
                assert seen.last is not None
                pieces += [torch.zeros_like(seen.last), seen.last]
            pieces.append(piece)
            seen.last = piece[:, :, -1:]
        if x.shape[T]:
            seen.count, seen.last = seen.count + x.shape[T], x[:, :, -1:].clone()
        return torch.cat(pieces, T) if len(pieces) > 1 else x


def _cut(x: Tensor, count: int, period: int) -> Iterator[tuple[int, Tensor]]:
    """Runs of the frames of `x`, which follow `count` others, that lie within one period, and where they start."""
    start = 0
    while start < x.shape[T]:
        stop = min(x.shape[T], start + period - (count + start) % period)
        yield count + start, x[:, :, start:stop]
        start = stop


@dataclass
class _Seen:
    """How many frames went by, and the last of them."""

    count: int = 0
    last: Tensor | None = None
