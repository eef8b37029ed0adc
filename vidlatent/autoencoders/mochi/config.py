"""What distinguishes one Mochi autoencoder from another."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vidlatent.errors import ModelError

PUBLISHED_MEAN = (
    *(-0.06730895953510081, -0.038011381506090416, -0.07477820912866141, -0.05565264470995561),
    *(0.012767231469026969, -0.04703542746246419, 0.043896967884726704, -0.09346305707025976),
    *(-0.09918314763016893, -0.008729793427399178, -0.011931556316503654, -0.0321993391887285),
)
PUBLISHED_STD = (
    *(0.9263795028493863, 0.9248894543193766, 0.9393059390890617, 0.959253732819592),
    *(0.8244560132752793, 0.917259975397747, 0.9294154431013696, 1.3720942357788521),
    *(0.881393668867029, 0.9168315692124348, 0.9185249279345552, 0.9274757570805041),
)
"""Latent statistics of Mochi 1, as its authors published them."""


@dataclass(frozen=True)
class MochiConfig:
    """Widths and depths, from pixels to latents; the defaults are Mochi 1 preview.

    Between widths `i` and `i + 1` time and space shrink by `temporal[i]` and `spatial[i]`. `blocks` and `attention`
    (of the encoder) have an entry for the first width, for each that follows, and for the blocks at the latent grid.
    Widths are multiples of 32: norms have 32 groups and attention heads have 32 channels. Raises `ModelError` where
    the fields contradict each other.
    """

    encoder_widths: tuple[int, ...] = (64, 128, 256, 384)
    decoder_widths: tuple[int, ...] = (128, 256, 512, 768)
    latent_channels: int = 12
    blocks: tuple[int, ...] = (3, 3, 4, 6, 3)
    temporal: tuple[int, ...] = (1, 2, 3)
    spatial: tuple[int, ...] = (2, 2, 2)
    attention: tuple[bool, ...] = (False, True, True, True, True)
    mean: tuple[float, ...] = PUBLISHED_MEAN
    std: tuple[float, ...] = PUBLISHED_STD

    def __post_init__(self) -> None:
        levels = len(self.encoder_widths)
        wanted = {
            "decoder_widths": (levels,),
            "blocks": (levels + 1,),
            "temporal": (levels - 1,),
            "spatial": (levels - 1,),
            "attention": (levels + 1,),
            "mean": (0, self.latent_channels),
            "std": (0, self.latent_channels),
        }
        for name, lengths in wanted.items():
            if len(getattr(self, name)) not in lengths:
                raise ModelError(f"{name} must have {lengths[-1]} entries, got {getattr(self, name)}")
        for width in (*self.encoder_widths, *self.decoder_widths):
            if width < 1 or width % 32:
                raise ModelError(f"widths must be multiples of 32, got {width}")

    @property
    def stride(self) -> tuple[int, int, int]:
        """Video size per latent along (T, H, W)."""
        return math.prod(self.temporal), math.prod(self.spatial), math.prod(self.spatial)
