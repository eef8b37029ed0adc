"""Residual vector quantisation: each codebook describes what the ones before left over (arXiv:2107.03312, 2203.01941).

r_0 = z,   q_i = nearest_i(r_i),   r_{i+1} = r_i - q_i,   z ~ sum_i q_i
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vidlatent.quantize.bottleneck import Bottled, Bottleneck, check_codes, straight_through
from vidlatent.quantize.vector import VectorQuantizer
from vidlatent.streaming import Pointwise, Sweepable


class ResidualQuantizer(Bottleneck, Pointwise):
    """`depth` codebooks of `size` vectors. Latents hold the parts q_i one after the other; the decoder adds them."""

    def __init__(self, channels: int, size: int, depth: int, *, decay: float = 0.99, revive_below: float = 1.0) -> None:
        super().__init__()
        self.in_channels = self.out_channels = channels
        self.channels, self.sizes = depth * channels, (size,) * depth
        self.levels = nn.ModuleList(
            VectorQuantizer(channels, size, decay=decay, revive_below=revive_below) for _ in range(depth)
        )

    @property
    def bits(self) -> float:
        return sum(level.bits for level in self._levels())

    def _levels(self) -> list[VectorQuantizer]:
        return list(self.levels)  # type: ignore[arg-type]

    def apply_to(self, x: Tensor) -> Tensor:
        parts, left = [], x
        for level in self._levels():
            parts.append(level.apply_to(left))
            left = left - parts[-1]
        return torch.cat(parts, 1)

    def bottle(self, x: Tensor) -> Bottled:
        left, parts, losses = x, [], []
        codes: list[Tensor] = []
        for level in self._levels():
            bottled = level.bottle(left)
            parts.append(bottled.latents.detach())
            codes += bottled.codes
            losses.append(bottled.losses)
            left = left - parts[-1]
        # the gradient of their sum goes to x once: through the first part
        parts[0] = straight_through(x, parts[0])
        means = {name: torch.stack([terms[name] for terms in losses]).mean() for name in losses[0]}
        return Bottled(torch.cat(parts, 1), means, tuple(codes))

    def codes(self, latents: Tensor) -> tuple[Tensor, ...]:
        parts = latents.chunk(len(self.sizes), 1)
        return tuple(level.codes(part)[0] for level, part in zip(self._levels(), parts, strict=True))

    def from_codes(self, codes: Sequence[Tensor]) -> Tensor:
        check_codes(codes, self.sizes)
        return torch.cat([level.from_codes([code]) for level, code in zip(self._levels(), codes, strict=True)], 1)

    def opening(self) -> Sweepable:
        return SumParts(len(self.sizes))


class SumParts(Pointwise):
    """Add `count` runs of channels up."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def apply_to(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.count, x.shape[1] // self.count)).sum(1)
