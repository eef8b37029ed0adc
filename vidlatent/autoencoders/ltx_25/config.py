"""What distinguishes one LTX-2.5 from another."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from vidlatent.autoencoders.ltx.config import LTXConfig, Step
from vidlatent.autoencoders.ltx.presets import LTX_23
from vidlatent.errors import ModelError
from vidlatent.nn.resample import Factors


@dataclass(frozen=True)
class LTX25Config:
    """Widths and depths; the defaults are the published model.

    The encoder's fields are those of `LTXConfig`, from pixels to latents; the decoder's go from latents to pixels, and
    the last of its widths, blocks and kernels (T, H, W) belong to the stage that denoises, `upsample` stands between
    two stages. `noise_seed` draws the noise that it begins with: each row of each frame has its own, whatever the plan,
    where published code draws it anew for every call and every tile. Raises `ModelError` where the fields contradict
    each other.
    """

    latent_channels: int = 128
    encoder_widths: tuple[int, ...] = (256, 512, 1024, 1024)
    encoder_blocks: tuple[int, ...] = (4, 6, 4, 2, 2)
    downsample_kinds: tuple[Step, ...] = ("spatial", "temporal", "spatiotemporal", "spatiotemporal")
    decoder_widths: tuple[int, ...] = (2048, 1024, 512, 512, 256)
    decoder_blocks: tuple[int, ...] = (4, 6, 4, 2, 8)
    decoder_kernels: tuple[Factors, ...] = ((3, 7, 7), (3, 7, 7), (3, 5, 5), (3, 5, 5), (11, 11, 11))
    upsample: tuple[Factors, ...] = ((1, 2, 2), (2, 1, 1), (2, 2, 2), (2, 2, 2))
    head_dim: int = 64
    time_channels: int = 384
    patch_size: int = 4
    noise_seed: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        stages = len(self.decoder_widths)
        wanted = {"decoder_blocks": stages, "decoder_kernels": stages, "upsample": stages - 1}
        for name, length in wanted.items():
            if len(getattr(self, name)) != length:
                raise ModelError(f"{name} must have {length} entries, got {getattr(self, name)}")
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (0, self.latent_channels):
                raise ModelError(f"{name} must have {self.latent_channels} entries, got {len(getattr(self, name))}")
        if self.head_dim % 8 or any(width % self.head_dim for width in self.decoder_widths):
            raise ModelError(
                f"decoder_widths {self.decoder_widths} must be multiples of head_dim, {self.head_dim}, and that of 8"
            )
        if any(size % 2 == 0 for kernel in self.decoder_kernels for size in kernel):
            raise ModelError(f"decoder_kernels must be odd, got {self.decoder_kernels}")
        if any(set(step) - {1, 2} for step in self.upsample) or self.decoder_stride != self.encoder.stride:
            raise ModelError(
                f"the decoder enlarges by {self.decoder_stride}, the encoder shrinks by {self.encoder.stride}: "
                f"change upsample, whose steps are 1 or 2"
            )

    @property
    def encoder(self) -> LTXConfig:
        """The model of LTX-2 whose encoder this is."""
        return replace(
            LTX_23,
            latent_channels=self.latent_channels,
            encoder_widths=self.encoder_widths,
            encoder_blocks=self.encoder_blocks,
            downsample=(True,) * len(self.downsample_kinds),
            downsample_kinds=self.downsample_kinds,
            patch_size=self.patch_size,
        )

    @property
    def decoder_stride(self) -> Factors:
        """Video size per latent along (T, H, W)."""
        t, h, w = (math.prod(step[axis] for step in self.upsample) for axis in range(3))
        return t, h * self.patch_size, w * self.patch_size

    @property
    def ghosts(self) -> int:
        """Copies of the last latent that the deterministic stages see behind it."""
        return self.decoder_kernels[0][0] // 2 * 2

    @property
    def least(self) -> Factors:
        """Latent frames, rows and columns with which no stage is smaller than its kernel."""
        t, h, w = ([*accumulate([1, *(step[axis] for step in self.upsample)], int.__mul__)] for axis in range(3))
        kernels = self.decoder_kernels
        return (
            max(math.ceil((k[0] + n - 1) / n) for k, n in zip(kernels, t, strict=True)),  # the first holds one frame
            max(math.ceil(k[1] / n) for k, n in zip(kernels, h, strict=True)),
            max(math.ceil(k[2] / n) for k, n in zip(kernels, w, strict=True)),
        )

    @property
    def steps(self) -> list[tuple[int, int]]:
        """Widths before and behind each step."""
        return [*pairwise(self.decoder_widths)]
