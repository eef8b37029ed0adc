"""What distinguishes one image autoencoder of latent diffusion from another, and the published ones."""

from __future__ import annotations

from dataclasses import dataclass

from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.errors import ModelError


@dataclass(frozen=True)
class ImageKLConfig:
    """Widths and depths; the defaults are Stable Diffusion 1 and 2.

    Level `i` works at `widths[i]` channels; between two levels space is halved. A diffusion model is fed
    `(latents - shift_factor) * scaling_factor`, or `(latents - mean) / std * scaling_factor` where there are statistics
    per channel. `quant_conv` and `post_quant_conv` are the pointwise convolutions around the latents,
    `middle_attention` is the attention at the latent grid, `sample_size` the size in pixels of images in training, and
    of upstream's tiles. Raises `ModelError` where the fields contradict each other.
    """

    widths: tuple[int, ...] = (128, 256, 512, 512)
    num_res_blocks: int = 2
    latent_channels: int = 4
    groups: int = 32
    scaling_factor: float = 0.18215
    shift_factor: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    quant_conv: bool = True
    post_quant_conv: bool = True
    middle_attention: bool = True
    sample_size: int = 512

    def __post_init__(self) -> None:
        if not self.widths or min(*self.widths, self.num_res_blocks, self.latent_channels, self.groups) < 1:
            raise ModelError(f"widths, num_res_blocks, latent_channels and groups must be at least 1, got {self}")
        odd = [width for width in self.widths if width % self.groups]
        if odd:
            raise ModelError(f"widths {odd} do not divide into {self.groups} groups: change widths or groups")
        if not self.scaling_factor:
            raise ModelError("scaling_factor must not be 0")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != self.latent_channels:
                raise ModelError(
                    f"{name} has {len(values)} entries for {self.latent_channels} channels: give one each or None"
                )

    @property
    def stride(self) -> tuple[int, int, int]:
        """Video size per latent along (T, H, W)."""
        space = 2 ** (len(self.widths) - 1)
        return 1, space, space

    @property
    def spec(self) -> LatentSpec:
        """The latent grid; both ways to normalise come down to a mean and a standard deviation per channel."""
        channels = self.latent_channels
        if self.mean and self.std:
            mean, std = self.mean, tuple(value / self.scaling_factor for value in self.std)
        else:
            mean, std = (self.shift_factor or 0.0,) * channels, (1 / self.scaling_factor,) * channels
        return LatentSpec(channels, self.stride, "grouped", mean, std)


SD = ImageKLConfig()
"""8x8 with 4 channels, 84 million parameters: Stable Diffusion 1 and 2."""

SDXL = ImageKLConfig(scaling_factor=0.13025, sample_size=1024)
"""The same architecture, trained anew."""

SD3 = ImageKLConfig(
    latent_channels=16,
    scaling_factor=1.5305,
    shift_factor=0.0609,
    quant_conv=False,
    post_quant_conv=False,
    sample_size=1024,
)
"""8x8 with 16 channels: Stable Diffusion 3 and 3.5."""

FLUX = ImageKLConfig(
    latent_channels=16,
    scaling_factor=0.3611,
    shift_factor=0.1159,
    quant_conv=False,
    post_quant_conv=False,
    sample_size=1024,
)
"""8x8 with 16 channels: FLUX.1."""
