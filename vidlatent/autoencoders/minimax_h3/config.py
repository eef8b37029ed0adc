"""What may vary in a MiniMax-H3 autoencoder."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.errors import ModelError


@dataclass(frozen=True)
class MiniMaxH3Config:
    """Widths, steps, and the clips and tiles that the model is defined on; the defaults are the published ones.

    Level `i` of the encoder works at `widths[i]` channels and ends with a step by `time_steps[i]` and `space_steps[i]`.
    A clip has `clip` frames; of the latents of one in which a video ends, the last `dropped` are not there. A tile has
    `tile` rows and columns, and shares at least `tile_overlap` with the next. `rotated` is the part of a head's
    channels that positions turn. Raises `ModelError` where the fields contradict each other.
    """

    latent_channels: int = 24
    widths: tuple[int, ...] = (128, 256, 256, 512, 512, 1024)
    num_res_blocks: int = 2
    space_steps: tuple[int, ...] = (2, 2, 2, 2, 1, 1)
    time_steps: tuple[int, ...] = (1, 2, 2, 1, 1, 1)
    groups: int = 32
    decoder_blocks: int = 36
    heads: int = 32
    head_dim: int = 64
    registers: int = 4
    expansion: int = 4
    theta: float = 100.0
    rotated: float = 0.75
    clip: int = 17
    dropped: int = 3
    tile: int = 256
    tile_overlap: int = 64
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if {len(self.widths)} != {len(self.space_steps), len(self.time_steps)}:
            raise ModelError(f"space_steps and time_steps need one entry for each of {len(self.widths)} widths")
        if not {*self.space_steps, *self.time_steps} <= {1, 2}:
            raise ModelError(f"space_steps and time_steps are 1 or 2 each, got {self}")
        if any(time > space for time, space in zip(self.time_steps, self.space_steps, strict=True)):
            raise ModelError(f"time is halved where space is too, got {self.time_steps} and {self.space_steps}")
        counts = (self.latent_channels, self.num_res_blocks, self.decoder_blocks, self.heads, self.expansion)
        if min(*self.widths, *counts) < 1 or self.registers < 0:
            raise ModelError(f"widths, channels, blocks, heads and expansion must be at least 1, got {self}")
        if any(width % self.groups for width in self.widths):
            raise ModelError(f"widths {self.widths} do not divide into {self.groups} groups")
        if self.rotated_dims % 6 or not 0 < self.rotated_dims <= self.head_dim:
            raise ModelError(f"{self.rotated} of head_dim {self.head_dim} must be a multiple of 6, for pairs on 3 axes")
        t, space, _ = self.stride
        if self.clip % t != 1 % t or not 0 < self.dropped < self.clip_latents:
            raise ModelError(f"clip must be 1 + k * {t}, and dropped less than its latents, got {self}")
        if self.tile % space or self.tile_overlap % space or not 0 < self.tile_overlap < self.tile:
            raise ModelError(f"tile and tile_overlap must be multiples of {space}, the overlap smaller; got {self}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and len(values) != self.latent_channels:
                raise ModelError(f"{name} has {len(values)} entries for {self.latent_channels} latent channels")

    @property
    def stride(self) -> tuple[int, int, int]:
        """Video size per latent along (T, H, W)."""
        space = math.prod(self.space_steps)
        return math.prod(self.time_steps), space, space

    @property
    def clip_latents(self) -> int:
        """Latents of a clip."""
        return -(-self.clip // self.stride[0])

    @property
    def decoder_width(self) -> int:
        """Channels of the transformer."""
        return self.heads * self.head_dim

    @property
    def rotated_dims(self) -> int:
        """Channels of a head that positions turn."""
        return int(self.head_dim * self.rotated)

    @property
    def spec(self) -> LatentSpec:
        """The latent grid."""
        return LatentSpec(self.latent_channels, self.stride, "single", self.mean, self.std, self.clip_latents)
