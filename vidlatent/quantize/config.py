"""A bottleneck by name, as configurations of autoencoders say it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from vidlatent.errors import ModelError
from vidlatent.nn.resample import Factors
from vidlatent.quantize.binary import BinaryQuantizer
from vidlatent.quantize.bottleneck import Bottleneck
from vidlatent.quantize.continuous import Gaussian, Identity
from vidlatent.quantize.finite_scalar import FiniteScalarQuantizer
from vidlatent.quantize.hierarchical import HierarchicalQuantizer
from vidlatent.quantize.residual import ResidualQuantizer
from vidlatent.quantize.vector import VectorQuantizer

Kind = Literal["none", "kl", "vq", "hierarchical-vq", "residual-vq", "fsq", "lfq", "bsq"]


@dataclass(frozen=True)
class BottleneckConfig:
    """Kind and sizes. Raises `ModelError` where they contradict each other.

    `channels` are those of a latent vector; for "lfq" and "bsq" one bit each, for "fsq" one entry of `levels` each, for
    "hierarchical-vq" those of each level. `size` is vectors per codebook, `depth` the number of codebooks of
    "residual-vq" and "hierarchical-vq", whose grids differ by `factors`. `decay` 0 learns vectors by gradient.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic where it stands inside another

    kind: Kind = "kl"
    channels: int = 16
    size: int = 1024
    levels: tuple[int, ...] = ()
    depth: int = 2
    factors: tuple[int, int, int] = (1, 2, 2)
    decay: float = 0.99
    revive_below: float = 1.0
    free_nats: float = 0.0
    temperature: float = 1.0
    diversity: float = 1.0

    def __post_init__(self) -> None:
        if min(self.channels, self.size, self.depth, *self.factors) < 1:
            raise ModelError(f"channels, size, depth and factors of a bottleneck are at least 1, got {self}")
        if self.kind == "fsq" and (len(self.levels) != self.channels or min(self.levels) < 2):
            raise ModelError(
                f"fsq needs one level of at least 2 per channel: {self.levels} for {self.channels} channels"
            )
        if self.kind != "fsq" and self.levels:
            raise ModelError(f"levels={self.levels} are for fsq, not for {self.kind}")
        if self.kind in ("residual-vq", "hierarchical-vq") and self.depth < 2:
            raise ModelError(f"{self.kind} needs a depth of at least 2, got {self.depth}")
        if self.kind in ("lfq", "bsq") and self.channels > 62:
            raise ModelError(
                f"{self.kind} has at most 62 channels, as many bits as fit an integer; got {self.channels}"
            )
        if not (0 <= self.decay < 1 and self.revive_below >= 0 and self.temperature > 0 and self.free_nats >= 0):
            raise ModelError(
                f"decay in [0, 1), revive_below and free_nats >= 0, temperature > 0 are needed; got {self}"
            )

    @property
    def latent_channels(self) -> int:
        """Channels of the latents, in which all codebooks' vectors lie side by side."""
        if self.kind == "residual-vq":
            return self.depth * self.channels
        if self.kind == "hierarchical-vq":
            return self.channels * sum(math.prod(self.factors) ** level for level in range(self.depth))
        return self.channels

    @property
    def out_factors(self) -> Factors:
        """How much finer than the latents the grid is that encoder and decoder see."""
        if self.kind != "hierarchical-vq":
            return (1, 1, 1)
        t, h, w = (factor ** (self.depth - 1) for factor in self.factors)
        return t, h, w


def build(config: BottleneckConfig, *, width: int) -> Bottleneck:
    """A new bottleneck; `width` is that of the features in front, which a hierarchical one looks at itself."""
    c, codebook = config.channels, {"decay": config.decay, "revive_below": config.revive_below}
    if config.kind == "none":
        return Identity(c)
    if config.kind == "kl":
        return Gaussian(c, free_nats=config.free_nats)
    if config.kind == "vq":
        return VectorQuantizer(c, config.size, **codebook)
    if config.kind == "residual-vq":
        return ResidualQuantizer(c, config.size, config.depth, **codebook)
    if config.kind == "hierarchical-vq":
        return HierarchicalQuantizer(c, config.size, config.depth, width=width, factors=config.factors, **codebook)
    if config.kind == "fsq":
        return FiniteScalarQuantizer(config.levels, temperature=config.temperature)
    return BinaryQuantizer(
        c, spherical=config.kind == "bsq", temperature=config.temperature, diversity=config.diversity
    )
