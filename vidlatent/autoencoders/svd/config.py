"""What Stable Video Diffusion's autoencoder may vary in."""

from __future__ import annotations

from dataclasses import dataclass

from vidlatent.autoencoders.image_kl.config import ImageKLConfig


@dataclass(frozen=True)
class SVDConfig:
    """Widths as in `ImageKLConfig`, whose encoder this is; the defaults are Stable Video Diffusion.

    Raises `ModelError` where the fields contradict each other.
    """

    widths: tuple[int, ...] = (128, 256, 512, 512)
    latent_channels: int = 4
    groups: int = 32
    scaling_factor: float = 0.18215

    def __post_init__(self) -> None:
        _ = self.frames

    @property
    def frames(self) -> ImageKLConfig:
        """The same for single frames."""
        return ImageKLConfig(
            widths=self.widths,
            latent_channels=self.latent_channels,
            groups=self.groups,
            scaling_factor=self.scaling_factor,
            post_quant_conv=False,
        )


SVD = SVDConfig()
"""8x8 in space and nothing in time, 4 channels, 98 million parameters."""
