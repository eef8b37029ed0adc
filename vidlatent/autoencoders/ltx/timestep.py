"""How LTX's decoder is told the noise level of its latents: its norms are scaled and shifted by a timestep.

Modules that hold weights for several norms stand in the tree where their block begins, let the clip pass, and are
borrowed by the norms behind them.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlatent.nn.passed import items_before
from vidlatent.nn.pixel_norm import PixelNorm
from vidlatent.streaming import H, Pointwise, Sweep, Sweepable

WAVES = 256
"""Numbers that a level is turned into, half of them cosines."""
_LONGEST = 10000.0


class Timestep(Pointwise):
    """The timestep in [0, 1], times a learned `multiplier`."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value
        self.multiplier = nn.Parameter(torch.tensor(1000.0))

    def apply_to(self, x: Tensor) -> Tensor:
        return x

    def waves(self) -> Tensor:
        """`sinusoids` of the timestep (256,)."""
        return sinusoids(self.value * self.multiplier).to(self.multiplier.dtype)


def sinusoids(level: Tensor) -> Tensor:
    """Cosines, then sines, of a number at geometric frequencies (256,); in float32, as models are trained."""
    count = WAVES // 2
    steps = torch.arange(count, dtype=torch.float32, device=level.device)
    phases = level.float() * torch.exp(steps * (-math.log(_LONGEST) / count))
    return torch.cat([phases.cos(), phases.sin()])


class Table(Sweepable):
    """Numbers that modules behind it share, worked out by `work_out`; lets the clip pass."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:  # noqa: ARG002
        return x

    def table(self, sweep: Sweep | None) -> Tensor:
        """(rows, channels), worked out once in a sweep."""
        if sweep is None:
            return self.work_out()
        known = sweep.state(self, sweep.axes[0], _Known, shared=True)
        if known.table is None:
            known.table = self.work_out()
        return known.table

    def work_out(self) -> Tensor:
        """(rows, channels)."""
        raise NotImplementedError


class TimeEmbedding(Table):
    """A small network from a timestep to the `rows` x `channels` numbers of a block."""

    def __init__(self, timestep: Timestep, rows: int, channels: int) -> None:
        super().__init__()
        self.rows = rows
        self._timestep = (timestep,)  # borrowed: in a tuple it is not registered twice
        self.linear_1 = nn.Linear(WAVES, rows * channels)
        self.linear_2 = nn.Linear(rows * channels, rows * channels)

    def work_out(self) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(self._timestep[0].waves()))).view(self.rows, -1)


@dataclass
class _Known:
    table: Tensor | None = None


class Modulation(Pointwise):
    """What a block adds to its time embedding: (shift, scale) for each of its norms; lets the clip pass."""

    def __init__(self, embedding: TimeEmbedding, channels: int) -> None:
        super().__init__()
        self._embedding = (embedding,)
        self.weight = nn.Parameter(torch.randn(embedding.rows, channels) / channels**0.5)

    def apply_to(self, x: Tensor) -> Tensor:
        return x

    def shift_and_scale(self, index: int, sweep: Sweep | None) -> Tensor:
        """(2, channels) of norm number `index`."""
        return (self._embedding[0].table(sweep) + self.weight)[2 * index : 2 * index + 2]


class ModulatedNorm(Sweepable):
    """`silu(norm(x) * (1 + scale) + shift)`, with the pair that `modulation` has for norm number `index`."""

    def __init__(self, modulation: Modulation, index: int) -> None:
        super().__init__()
        self._modulation, self.index = (modulation,), index
        self.norm = PixelNorm(silu=True)

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if sweep and sweep.passes(x):
            return x
        shift, scale = self._modulation[0].shift_and_scale(self.index, sweep)
        return self.norm.norm(x, 1 + scale, shift)


class NoiseInjection(Sweepable):
    """`x + weight * n(row, column)`, the same in every frame; `seed` None adds nothing.

    Noise belongs to a place: it comes from (`seed`, `stream`, row), so every sweep adds what the whole clip does.
    """

    def __init__(self, channels: int, *, seed: int | None, stream: int) -> None:
        super().__init__()
        self.seed, self.stream = seed, stream
        self.weight = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if self.seed is None or not x.numel():
            return x
        first = items_before(self, x, sweep, H)
        noise = torch.stack([self.noise(first + row, x.shape[-1]) for row in range(x.shape[H])])
        return x + self.weight.view(-1, 1, 1, 1) * noise.to(x)

    def noise(self, row: int, width: int) -> Tensor:
        """Unit Gaussian noise of one row (width,)."""
        place = zlib.crc32(f"{self.seed} {self.stream} {row}".encode())  # a generator takes 32 bits of its seed
        return torch.randn(width, generator=torch.Generator().manual_seed(place))
