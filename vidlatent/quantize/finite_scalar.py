"""Finite scalar quantisation: each channel is rounded to one of a few levels (Mentzer et al., arXiv:2309.15505).

    bounded = tanh(z + shift) * half - offset,   q = round(bounded) / floor(L / 2)

half = (L - 1)(1 + eps) / 2; for an even number of levels offset is 1/2 and shift = atanh(offset / half), so that z = 0
stays 0. There is no codebook to learn; the code is the number whose digits are the levels, the first the least.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vidlatent.quantize.bottleneck import Bottled, Bottleneck, check_codes, like, rows_of, straight_through
from vidlatent.quantize.entropy import entropy_gap
from vidlatent.streaming import Pointwise

_EPS = 1e-3


class FiniteScalarQuantizer(Bottleneck, Pointwise):
    """One channel per entry of `levels`, each at least 2; latents are in [-1, 1].

    Terms: "commitment", the squared distance of the bounded channels to their levels, and "entropy", which is low where
    each channel is sure and all of its levels are used (as VidTok adds it, arXiv:2412.13061), at `temperature`.
    """

    counts: Tensor
    basis: Tensor

    def __init__(self, levels: Sequence[int], *, temperature: float = 1.0) -> None:
        super().__init__()
        self.in_channels = self.channels = self.out_channels = len(levels)
        self.levels, self.sizes, self.temperature = tuple(levels), (math.prod(levels),), temperature
        basis = [math.prod(levels[:i]) for i in range(len(levels))]
        self.register_buffer("counts", torch.tensor(levels), persistent=False)
        self.register_buffer("basis", torch.tensor(basis), persistent=False)

    @property
    def bits(self) -> float:
        return math.log2(self.sizes[0])

    def apply_to(self, x: Tensor) -> Tensor:
        rows = rows_of(x)
        return like(self._bound(rows).round() / self._width(rows), x)

    def bottle(self, x: Tensor) -> Bottled:
        rows = rows_of(x).float()
        bounded, width = self._bound(rows), self._width(rows)
        rounded = bounded.round().detach()
        losses = {"commitment": F.mse_loss(bounded / width, rounded / width), "entropy": self._entropy(bounded)}
        latents = like(straight_through(bounded, rounded) / width, x).to(x.dtype)
        return Bottled(latents, losses, self.codes(like(rounded / width, x)))

    def codes(self, latents: Tensor) -> tuple[Tensor, ...]:
        rows = rows_of(latents)
        width = self._width(rows)
        digits = (rows * width + width).round().long()
        return ((digits * self.basis).sum(1).view(latents.shape[0], *latents.shape[2:]),)

    def from_codes(self, codes: Sequence[Tensor]) -> Tensor:
        check_codes(codes, self.sizes)
        digits = codes[0].to(self.basis.device)[..., None] // self.basis % self.counts
        width = self.counts // 2
        return ((digits - width) / width).permute(0, 4, 1, 2, 3)

    def _bound(self, rows: Tensor) -> Tensor:
        half = (self.counts - 1).to(rows.dtype) * (1 + _EPS) / 2
        offset = (self.counts % 2 == 0).to(rows.dtype) / 2
        return torch.tanh(rows + torch.atanh(offset / half)) * half - offset

    def _width(self, rows: Tensor) -> Tensor:
        return (self.counts // 2).to(rows.dtype)

    def _entropy(self, bounded: Tensor) -> Tensor:
        """Sum over channels, whose levels are as probable as they are near."""
        gaps = []
        for channel, count in enumerate(self.levels):
            positions = torch.arange(count, device=bounded.device, dtype=bounded.dtype) - count // 2
            distances = (bounded[:, channel, None] - positions).square()
            gaps.append(entropy_gap((-distances / self.temperature).softmax(1)))
        return torch.stack(gaps).sum()
