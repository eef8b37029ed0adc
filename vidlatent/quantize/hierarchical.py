"""Hierarchical vector quantisation, VQ-VAE-2 (Razavi et al., arXiv:1906.00446), in video.

A coarse codebook describes features folded by `factors`; what it says, brought back to the fine grid, conditions what
the fine codebook describes. Levels nest: with three, the coarse one is itself such a pair.

Latents live on the coarsest grid. Each finer level's vectors are folded into channels behind the coarser ones, so any
size that fits the autoencoder's stride holds whole blocks; the decoder begins by unfolding them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vidlatent.nn import Chain, Concat, Conv3d, DepthToSpace, Nearest, Residual, SiLU, SpaceToDepth
from vidlatent.nn.channels import TakeChannels
from vidlatent.nn.resample import Factors
from vidlatent.quantize.bottleneck import Bottled, Bottleneck, check_codes
from vidlatent.quantize.vector import VectorQuantizer
from vidlatent.streaming import Sweep, Sweepable, Window

_EDGES = Window.centred(3)


class HierarchicalQuantizer(Bottleneck):
    """`depth` >= 2 codebooks of `size` vectors of `channels_per_level`; grids differ by `factors`.

    Codes come coarsest first, each on its own grid. Features are as wide as `width`.
    """

    def __init__(
        self,
        channels_per_level: int,
        size: int,
        depth: int,
        *,
        width: int,
        factors: Factors = (1, 2, 2),
        decay: float = 0.99,
        revive_below: float = 1.0,
    ) -> None:
        super().__init__()
        c = channels_per_level
        fine = VectorQuantizer(c, size, decay=decay, revive_below=revive_below)
        coarse: HierarchicalQuantizer | VectorQuantizer
        if depth > 2:
            coarse = HierarchicalQuantizer(
                c, size, depth - 1, width=width, factors=factors, decay=decay, revive_below=revive_below
            )
        else:
            coarse = VectorQuantizer(c, size, decay=decay, revive_below=revive_below)
        self.fold: Factors = tuple(factor ** (depth - 1) for factor in factors)
        self.in_channels, self.sizes = width, (*coarse.sizes, size)
        self.channels = coarse.channels + c * math.prod(self.fold)
        self.out_channels, self.out_factors = coarse.out_channels + c, self.fold
        self.factors, self.bits_per_block = factors, (coarse.bits or 0.0) + math.prod(self.fold) * fine.bits
        down = Chain(
            SpaceToDepth(factors),
            Conv3d(math.prod(factors) * width, width),
            _refine(width),
            _conv(width, coarse.in_channels),
        )
        up = Chain(coarse.opening(), Nearest(factors), _conv(coarse.out_channels, width), SiLU())
        mix = _conv(2 * width, c)
        self._parts = down, coarse, up, mix, fine  # a tuple: its modules have their place in the tree
        self.tree = self._build_tree(*self._parts)

    def _build_tree(self, down: Chain, coarse: Bottleneck, up: Chain, mix: Conv3d, fine: VectorQuantizer) -> Chain:
        """What inference runs: features folded to the coarsest grid travel beside the coarse latents."""
        folded = self.in_channels * math.prod(self.fold)
        features = Chain(_take(0, folded), DepthToSpace(self.fold))
        condition = Chain(_take(folded, coarse.channels), up)
        described = Chain(Concat(features, condition), mix, fine, SpaceToDepth(self.fold))
        return Chain(
            Concat(SpaceToDepth(self.fold), Chain(down, coarse)),
            Concat(_take(folded, coarse.channels), described),
        )

    @property
    def bits(self) -> float:
        """Bits per latent position, which is one of the coarsest grid."""
        return self.bits_per_block

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        return self.tree(x, sweep)

    def bottle(self, x: Tensor) -> Bottled:
        down, coarse, up, mix, fine = self._parts
        below = coarse.bottle(down(x))
        here = fine.bottle(mix(torch.cat([x, up(below.latents)], 1)))
        latents = torch.cat([below.latents, SpaceToDepth(self.fold)(here.latents)], 1)
        losses = {name: (below.losses[name] + here.losses[name]) / 2 for name in here.losses}
        return Bottled(latents, losses, (*below.codes, *here.codes))

    def codes(self, latents: Tensor) -> tuple[Tensor, ...]:
        _, coarse, _, _, fine = self._parts
        described = DepthToSpace(self.fold)(latents[:, coarse.channels :])
        return (*coarse.codes(latents[:, : coarse.channels]), *fine.codes(described))

    def from_codes(self, codes: Sequence[Tensor]) -> Tensor:
        check_codes(codes, self.sizes)
        _, coarse, _, _, fine = self._parts
        described = SpaceToDepth(self.fold)(fine.from_codes(codes[-1:]))
        return torch.cat([coarse.from_codes(codes[:-1]), described], 1)

    def opening(self) -> Sweepable:
        """Coarse vectors repeated on the fine grid, beside the fine ones."""
        coarse = self._parts[1]
        repeated = Chain(_take(0, coarse.channels), coarse.opening(), Nearest(self.factors))
        fine = Chain(_take(coarse.channels, self.channels - coarse.channels), DepthToSpace(self.fold))
        return Concat(repeated, fine)


def _refine(width: int) -> Residual:
    return Residual(Chain(SiLU(), _conv(width, width), SiLU(), _conv(width, width)))


def _conv(width: int, width_out: int) -> Conv3d:
    return Conv3d(width, width_out, h=_EDGES, w=_EDGES)


def _take(start: int, count: int) -> TakeChannels:
    return TakeChannels(range(start, start + count))
