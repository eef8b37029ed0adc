"""What distinguishes one Wan autoencoder from another."""

from __future__ import annotations

from dataclasses import dataclass

from vidlatent.errors import ModelError

PUBLISHED_MEAN = (
    *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
    *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
)
PUBLISHED_STD = (
    *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
    *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
)
"""Latent statistics of Wan 2.1, as its authors published them."""


@dataclass(frozen=True)
class WanConfig:
    """Widths and depths; the defaults are Wan 2.1.

    Level `i` works at `base_dim * multipliers[i]` channels (the decoder at `decoder_base_dim`, if given). Between two
    levels space is halved, and time where `temporal_downsample` says so. `residual_levels` puts a parameter-free
    shortcut around each level, and `patch_size` folds blocks of pixels into channels first: both are Wan 2.2's.
    Raises `ModelError` where the fields contradict each other.
    """

    base_dim: int = 96
    decoder_base_dim: int | None = None
    latent_channels: int = 16
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    temporal_downsample: tuple[bool, ...] = (False, True, True)
    residual_levels: bool = False
    patch_size: int = 1
    mean: tuple[float, ...] = PUBLISHED_MEAN
    std: tuple[float, ...] = PUBLISHED_STD

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in ("base_dim", "latent_channels", "num_res_blocks", "patch_size")}
        for name, size in {**sizes, "decoder_base_dim": self.decoder_dim}.items():
            if size < 1:
                raise ModelError(f"{name} must be at least 1, got {size}")
        if not self.multipliers or len(self.temporal_downsample) != len(self.multipliers) - 1:
            raise ModelError(
                f"temporal_downsample needs one entry between each two of multipliers {self.multipliers}, "
                f"got {self.temporal_downsample}"
            )
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and len(values) != self.latent_channels:
                raise ModelError(
                    f"{name} has {len(values)} entries for {self.latent_channels} latent channels: give one each, or ()"
                )

    @property
    def decoder_dim(self) -> int:
        """The decoder's base width."""
        return self.base_dim if self.decoder_base_dim is None else self.decoder_base_dim

    @property
    def video_channels(self) -> int:
        """Channels of a video whose patches are folded."""
        return 3 * self.patch_size**2

    @property
    def stride(self) -> tuple[int, int, int]:
        """Video size per latent along (T, H, W)."""
        space = self.patch_size * 2 ** len(self.temporal_downsample)
        return 2 ** sum(self.temporal_downsample), space, space
