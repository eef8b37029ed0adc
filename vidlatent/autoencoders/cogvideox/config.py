"""What distinguishes one CogVideoX autoencoder from another."""

from __future__ import annotations

from dataclasses import dataclass

from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.errors import ModelError


@dataclass(frozen=True)
class CogVideoXConfig:
    """Widths and depths; the defaults are CogVideoX 2B.

    Level `i` works at `widths[i]` channels; between two levels space is halved, and time between the first ones, until
    it is divided by `time_stride`. A diffusion model is fed `latents * scaling_factor`; `invert_scale_latents` only
    tells pipelines to divide the latents of a given first frame instead. Raises `ModelError` where the fields
    contradict each other.
    """

    widths: tuple[int, ...] = (128, 256, 256, 512)
    num_res_blocks: int = 3
    latent_channels: int = 16
    groups: int = 32
    time_stride: int = 4
    scaling_factor: float = 1.15258426
    invert_scale_latents: bool = False

    def __post_init__(self) -> None:
        if not self.widths or min(*self.widths, self.num_res_blocks, self.latent_channels, self.groups) < 1:
            raise ModelError(f"widths, num_res_blocks, latent_channels and groups must be at least 1, got {self}")
        odd = [width for width in self.widths if width % self.groups]
        if odd:
            raise ModelError(f"widths {odd} do not divide into {self.groups} groups: change widths or groups")
        allowed = [2**count for count in range(len(self.widths))]
        if self.time_stride not in allowed:
            raise ModelError(f"time_stride is {self.time_stride}, {len(self.widths)} levels allow {allowed}")
        if not self.scaling_factor:
            raise ModelError("scaling_factor must not be 0")

    @property
    def num_time_steps(self) -> int:
        """How many steps between levels halve time."""
        return self.time_stride.bit_length() - 1

    @property
    def spec(self) -> LatentSpec:
        """The latent grid."""
        space = 2 ** (len(self.widths) - 1)
        std = (1 / self.scaling_factor,) * self.latent_channels
        return LatentSpec(self.latent_channels, (self.time_stride, space, space), "single", (), std)


COGVIDEOX_2B = CogVideoXConfig()
"""4x8x8 with 16 channels, 216 million parameters."""

COGVIDEOX_5B = CogVideoXConfig(scaling_factor=0.7)
"""The same, scaled otherwise; also of CogVideoX 1.5."""
