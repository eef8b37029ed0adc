"""One scheduling matrix: which latent frame is at which noise level in which pass.

S[m, i] = clip(K + floor(b(i) lag) - m, 0, K),   b(i) = i // block,   level k is t = g_k, 0 = g_0 < ... < g_K = 1

full sequence      one block             all frames together
autoregressive     lag = K               a block starts when the one before is clean
pyramid            0 < lag < K           blocks in flight together, each `lag` steps noisier than the one before
FIFO               lag = 1, block = 1    one clean frame a pass (arXiv:2405.11473)
rolling            lag = 1, block > 1    one clean block a pass (arXiv:2509.25161)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count, pairwise

import torch
from torch import Tensor

from vidlatent.diffusion.times import time_grid
from vidlatent.errors import InputError


@dataclass(frozen=True)
class Schedule:
    """`steps` (K) passes for every frame, frames in blocks of `block` (None: all in one), `lag` steps between blocks.

    `shift` moves the levels, as in training. `levels`, when given, are g_0 .. g_K themselves.
    """

    steps: int
    block: int | None = 1
    lag: float = 1.0
    shift: float = 1.0
    levels: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.steps < 1 or (self.block is not None and self.block < 1):
            raise InputError(f"steps={self.steps}, block={self.block}: allowed are numbers from 1 (block: or None)")
        if not 0 < self.lag <= self.steps:
            raise InputError(f"lag={self.lag}: allowed is above 0 and up to steps={self.steps}")
        if self.levels is not None and not _climbs(self.levels, self.steps):
            raise InputError(f"levels={self.levels}: allowed are {self.steps + 1} numbers that climb from 0 to 1")

    @property
    def grid(self) -> Tensor:
        """Levels g_0 .. g_K, in float64."""
        if self.levels is not None:
            return torch.tensor(self.levels, dtype=torch.float64)
        return time_grid(self.steps, shift_by=self.shift)

    def start(self, block: int) -> int:
        """The pass in which a block is first stepped, at level K."""
        return math.floor(block * self.lag + 1e-9)

    def level(self, block: int, after: int) -> int:
        """Level of a block after that many passes."""
        return min(self.steps, max(0, self.steps + self.start(block) - after))

    @property
    def room(self) -> int:
        """Frames in flight at once, at most."""
        if self.block is None:
            raise InputError("a full sequence has no queue")
        return self.block * next(b for b in count() if self.start(b) >= self.steps)

    def matrix(self, frames: int) -> Tensor:
        """S `(passes + 1, frames)`: row m is the levels after m passes, the last row all zero."""
        block = self.block or frames
        blocks = [i // block for i in range(frames)]
        passes = self.start(blocks[-1]) + self.steps
        return torch.tensor([[self.level(b, m) for b in blocks] for m in range(passes + 1)])


def full_sequence(steps: int, *, shift: float = 1.0) -> Schedule:
    """All frames of a clip of known length together."""
    return Schedule(steps, block=None, lag=steps, shift=shift)


def autoregressive(steps: int, *, block: int = 1, shift: float = 1.0) -> Schedule:
    """Block after block."""
    return Schedule(steps, block=block, lag=steps, shift=shift)


def pyramid(steps: int, *, lag: float, block: int = 1, shift: float = 1.0) -> Schedule:
    """Blocks in flight together, each `lag` steps behind the one before (diffusion forcing's uncertainty scale)."""
    return Schedule(steps, block=block, lag=lag, shift=shift)


def fifo(window: int, *, partitions: int = 1, shift: float = 1.0) -> Schedule:
    """A queue of `partitions * window` frames, as many steps, one clean frame a pass.

    A model of `window` frames goes over longer queues in `Partitioned` windows.
    """
    return pyramid(window * partitions, lag=1, shift=shift)


def rolling(steps: int, *, block: int = 3, shift: float = 1.0) -> Schedule:
    """A queue of `steps` blocks, one clean block a pass."""
    return pyramid(steps, lag=1, block=block, shift=shift)


def _climbs(levels: tuple[float, ...], steps: int) -> bool:
    ordered = all(a < b for a, b in pairwise(levels))
    return len(levels) == steps + 1 and ordered and levels[0] == 0 and levels[-1] == 1
