"""The decoder's last stage: one step of denoising, guided by what the others made of the latents.

The clip carries both, channels of that context first, then those of the pixels, until the last block.
"""

from __future__ import annotations

import zlib
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlatent.autoencoders.ltx.timestep import WAVES, Table, sinusoids
from vidlatent.nn.passed import items_before
from vidlatent.nn.pixel_norm import PixelNorm
from vidlatent.streaming import H, Pointwise, Sweep, Sweepable, T

_LEVEL = 1000.0
"""What the network is told of the noise level, which is 1."""
_ROWS = 7
"""Scale and shift for attention, a gate, the same for the MLP, and a gate for the context; gates are not used."""


class NoiseLevel(Table):
    """From the noise level to `(7, channels)` numbers that all blocks share."""

    def __init__(self, time_channels: int, channels: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(WAVES, time_channels)
        self.linear_2 = nn.Linear(time_channels, time_channels)
        self.proj = nn.Linear(time_channels, _ROWS * channels)

    def work_out(self) -> Tensor:
        weight = self.linear_1.weight
        waves = sinusoids(torch.tensor(_LEVEL, device=weight.device)).to(weight.dtype)
        level = self.linear_2(F.silu(self.linear_1(waves)))
        return self.proj(F.silu(level)).view(_ROWS, -1)


class Modulation(Pointwise):
    """What a block adds to the shared numbers; lets the clip pass."""

    def __init__(self, level: NoiseLevel, channels: int) -> None:
        super().__init__()
        self._level = (level,)  # borrowed: in a tuple it is not registered twice
        self.weight = nn.Parameter(torch.zeros(_ROWS, channels))

    def apply_to(self, x: Tensor) -> Tensor:
        return x

    def scale_and_shift(self, row: int, sweep: Sweep | None) -> Tensor:
        """(2, channels), from that row on."""
        return (self._level[0].table(sweep) + self.weight)[row : row + 2]


class ModulatedNorm(Sweepable):
    """`norm(x) * weight * (1 + scale) + shift`, with the pair that `modulation` has from `row` on."""

    def __init__(self, channels: int, modulation: Modulation, row: int) -> None:
        super().__init__()
        self._modulation, self.row = (modulation,), row
        self.weight = nn.Parameter(torch.ones(channels))
        self.norm = PixelNorm(eps=1e-6)

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if sweep and sweep.passes(x):
            return x
        scale, shift = self._modulation[0].scale_and_shift(self.row, sweep)
        return self.norm.norm(x, self.weight * (1 + scale), shift)


class Inject(Pointwise):
    """The pixels' channels, plus a projection of the context's."""

    def __init__(self, context: int, channels: int) -> None:
        super().__init__()
        self.context = context
        self.proj = nn.Linear(context, channels)

    def apply_to(self, x: Tensor) -> Tensor:
        context, pixels = x.permute(0, 2, 3, 4, 1).split([self.context, x.shape[1] - self.context], -1)
        return (self.proj(context) + pixels).permute(0, 4, 1, 2, 3)


class Noise(Sweepable):
    """The context, and beside it a projection of unit Gaussian noise of `pixels` channels.

    Noise belongs to a place: it comes from (`seed`, frame, row), so every sweep begins with what the whole clip does;
    clips of a batch have the same.
    """

    def __init__(self, pixels: int, channels: int, *, seed: int) -> None:
        super().__init__()
        self.pixels, self.seed = pixels, seed
        self.proj = nn.Linear(pixels, channels)

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if sweep and sweep.passes(x):
            return x
        frame, row = (items_before(self, x, sweep, axis) for axis in (T, H))
        return sweep.attempt(self.beside, x, frame, row) if sweep else self.beside(x, frame, row)

    def beside(self, x: Tensor, frame: int, row: int) -> Tensor:
        """A slab that begins at `frame` and `row`, with its noise."""
        b, _, t, h, w = x.shape
        noise = torch.zeros(0 if x.is_meta else t, h, w, self.pixels)
        for i, j in product(range(len(noise)), range(h)):
            noise[i, j] = self.noise(frame + i, row + j, w)
        noise = x.new_empty(t, h, w, self.pixels) if x.is_meta else noise.to(x)
        pixels = self.proj(noise).permute(3, 0, 1, 2).expand(b, -1, -1, -1, -1)
        return torch.cat([x, pixels], 1).contiguous(memory_format=torch.channels_last_3d)

    def noise(self, frame: int, row: int, width: int) -> Tensor:
        """The noise of one row `(width, pixels)`."""
        place = zlib.crc32(f"{self.seed} {frame} {row}".encode())  # a generator takes 32 bits of its seed
        return torch.randn(width, self.pixels, generator=torch.Generator().manual_seed(place))
