"""What can be chosen of a configurable autoencoder."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.errors import ModelError
from vidlatent.quantize import BottleneckConfig

Patch = Literal["none", "fold", "haar"]
Norm = Literal["rms", "layer", "group-frame", "group-clip"]
Kernel = Literal["3d", "space-time", "space"]
Step = Literal["conv", "fold"]
Attention = Literal["none", "frame", "linear"]


@dataclass(frozen=True)
class ConfigurableConfig:
    """Levels from fine to coarse, joined by steps, between pixels and a bottleneck.

    Level i has `*_widths[i]` channels and `*_blocks[i]` blocks; `steps[i]` are the factors (T, H, W) to level i + 1, so
    there is one less. `patch` comes before the first level and folds `patch_factors` into channels, plainly or as Haar
    sub-bands. `kernel` is what a block's convolutions see; `time` says whether they see what comes. `step_kind` "conv"
    strides and repeats, "fold" moves positions to channels and back. `shortcuts` lead around each step without weights
    (DC-AE, arXiv:2410.10733). `attention[i]` is added to each block of level i. `conditioned` makes the decoder's norms
    take scale and shift from the latents at each position (MoVQ, arXiv:2209.09002); it asks for group norms.
    `first_frame` "single" keeps the first frame a latent of its own, which asks for causal time.
    Raises `ModelError` where these contradict each other.
    """

    encoder_widths: tuple[int, ...] = (64, 128, 256)
    decoder_widths: tuple[int, ...] = (64, 128, 256)
    encoder_blocks: tuple[int, ...] = (1, 1, 2)
    decoder_blocks: tuple[int, ...] = (2, 2, 2)
    steps: tuple[tuple[int, int, int], ...] = ((2, 2, 2), (2, 2, 2))
    patch: Patch = "fold"
    patch_factors: tuple[int, int, int] = (1, 2, 2)
    kernel: Kernel = "3d"
    time: Literal["causal", "centred"] = "causal"
    time_padding: Literal["zeros", "replicate"] = "replicate"
    first_frame: Literal["single", "grouped"] = "single"
    norm: Norm = "rms"
    groups: int = 32
    step_kind: Step = "conv"
    shortcuts: bool = False
    attention: tuple[Attention, ...] = ("none", "none", "none")
    head_dim: int = 32
    conditioned: bool = False
    bottleneck: BottleneckConfig = field(default_factory=BottleneckConfig)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        levels = len(self.encoder_widths)
        for name in ("decoder_widths", "encoder_blocks", "decoder_blocks", "attention"):
            if len(getattr(self, name)) != levels:
                raise ModelError(f"{name} has {len(getattr(self, name))} entries for {levels} levels of encoder_widths")
        if len(self.steps) != levels - 1:
            raise ModelError(f"{levels} levels are joined by {levels - 1} steps, got {len(self.steps)}: {self.steps}")
        numbers = (*self.encoder_widths, *self.decoder_widths, *self.patch_factors, *sum(self.steps, ()), self.groups)
        if min(numbers) < 1 or min(*self.encoder_blocks, *self.decoder_blocks) < 0:
            raise ModelError("widths, factors and groups are at least 1, blocks at least 0")
        self._check_time()
        self._check_divisions()

    def _check_time(self) -> None:
        if self.first_frame == "single" and self.time != "causal":
            raise ModelError("first_frame 'single' asks for time 'causal': choose 'grouped', or causal time")
        if self.first_frame == "single" and self.bottleneck.out_factors[0] > 1:
            raise ModelError(
                f"codebook grids that differ in time, {self.bottleneck.factors}, ask for first_frame 'grouped'"
            )

    def _check_divisions(self) -> None:
        if self.patch == "haar" and any(factor & (factor - 1) for factor in self.patch_factors):
            raise ModelError(f"Haar patches have powers of two along each axis, got {self.patch_factors}")
        if self.conditioned and not self.norm.startswith("group"):
            raise ModelError(f"conditioned decoders have group norms, got norm={self.norm!r}")
        if self.norm.startswith("group"):
            for width in (*self.encoder_widths, *self.decoder_widths):
                if width % self.groups:
                    raise ModelError(f"a width of {width} does not divide into {self.groups} groups")
        for widths in (self.encoder_widths, self.decoder_widths):
            for width, kind in zip(widths, self.attention, strict=True):
                if kind == "linear" and width % self.head_dim:
                    raise ModelError(f"a width of {width} does not divide into heads of {self.head_dim}")
            for index, factors in enumerate(self.steps if self.shortcuts else ()):
                fine, coarse = widths[index] * math.prod(factors), widths[index + 1]
                if fine % coarse:
                    raise ModelError(
                        f"a shortcut cannot make {coarse} channels of {widths[index]} x {math.prod(factors)}: change "
                        "the widths, or leave shortcuts off"
                    )

    @property
    def grid(self) -> tuple[int, int, int]:
        """Video per position of the grid that encoder and decoder end and begin on, along (T, H, W)."""
        patch = self.patch_factors if self.patch != "none" else (1, 1, 1)
        t, h, w = (math.prod(factors) for factors in zip(patch, *self.steps, strict=True))
        return t, h, w

    @property
    def spec(self) -> LatentSpec:
        """The latent grid; `channels` are those of the bottleneck's latents."""
        t, h, w = (a * b for a, b in zip(self.grid, self.bottleneck.out_factors, strict=True))
        return LatentSpec(self.bottleneck.latent_channels, (t, h, w), self.first_frame, self.mean, self.std)
