"""What distinguishes one video tokenizer of Cosmos from another, and the published ones."""

from __future__ import annotations

from dataclasses import dataclass

from vidlatent.autoencoders.cosmos.statistics import PUBLISHED_MEAN, PUBLISHED_STD
from vidlatent.errors import ModelError

MOST_LEVELS = 4
"""With more, levels at a resolution of 32 (of 1024) would have attention, which no published model has."""


@dataclass(frozen=True)
class CosmosConfig:
    """Widths and strides; the defaults are Cosmos 1.0 CV8x8x8.

    Blocks of `patch_size` pixels and frames become channels; the rest of `time_stride` and `space_stride` is halved
    between levels. Level `i` of the encoder works at `encoder_widths[i + 1]` channels, behind a first convolution to
    `encoder_widths[0]`; the decoder goes through `decoder_widths` backwards. Both end at `features` channels beside the
    latents, as many as those where it is None. A discrete tokenizer has `levels`, one for each latent channel. `mean`
    and `std` are given per channel, or for a number of latent frames each. Raises `ModelError` where the fields
    contradict each other.
    """

    latent_channels: int = 16
    encoder_widths: tuple[int, ...] = (128, 256, 512, 512)
    decoder_widths: tuple[int, ...] = (256, 512, 512, 512)
    num_res_blocks: int = 2
    patch_size: int = 4
    time_stride: int = 8
    space_stride: int = 8
    features: int | None = None
    levels: tuple[int, ...] = ()
    mean: tuple[float, ...] | None = PUBLISHED_MEAN
    std: tuple[float, ...] | None = PUBLISHED_STD

    def __post_init__(self) -> None:
        for name, widths in (("encoder_widths", self.encoder_widths), ("decoder_widths", self.decoder_widths)):
            if not 2 <= len(widths) <= MOST_LEVELS or min(widths) < 1:
                raise ModelError(f"{name} needs 2 to {MOST_LEVELS} widths of at least 1, got {widths}")
        if min(self.latent_channels, self.num_res_blocks, self.num_features) < 1:
            raise ModelError(f"latent_channels, features and num_res_blocks must be at least 1, got {self}")
        if self.levels and (len(self.levels) != self.latent_channels or min(self.levels) < 2):
            raise ModelError(f"levels needs 2 or more for each of {self.latent_channels} channels, got {self.levels}")
        steps = min(len(self.encoder_widths), len(self.decoder_widths)) - 2
        # the decoder's first step is one in space alone
        most = (("time_stride", self.time_stride, max(steps - 1, 0)), ("space_stride", self.space_stride, steps))
        for name, stride, most_steps in most:
            allowed = [self.patch_size * 2**count for count in range(most_steps + 1)]
            if self.patch_size not in (2, 4, 8) or stride not in allowed:
                raise ModelError(f"{name} {stride} with patch_size {self.patch_size} (2, 4 or 8): choose of {allowed}")
        if self.time_stride > self.space_stride:
            raise ModelError(f"time_stride {self.time_stride} exceeds space_stride {self.space_stride}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and len(values) % self.latent_channels:
                raise ModelError(f"{name} has {len(values)} entries, no multiple of {self.latent_channels} channels")

    @property
    def stride(self) -> tuple[int, int, int]:
        """Video size per latent along (T, H, W)."""
        return self.time_stride, self.space_stride, self.space_stride

    @property
    def num_features(self) -> int:
        """Channels in front of the last layer of the encoder, and behind the first of the decoder."""
        return self.latent_channels if self.features is None else self.features

    @property
    def patch_levels(self) -> int:
        """How often patching halves each axis."""
        return self.patch_size.bit_length() - 1

    @property
    def num_steps(self) -> tuple[int, int]:
        """How many steps between levels halve time, and space."""
        return tuple((stride // self.patch_size).bit_length() - 1 for stride in self.stride[:2])  # type: ignore[return-value]


FSQ_LEVELS = (8, 8, 8, 5, 5, 5)
"""Levels of the discrete tokenizers: 64,000 codes."""


def _tokenizer(
    time_stride: int, space_stride: int, *, patch_size: int = 4, features: int | None = None, discrete: bool = False
) -> CosmosConfig:
    """A tokenizer whose latents have no published statistics."""
    return CosmosConfig(
        latent_channels=len(FSQ_LEVELS) if discrete else 16,
        patch_size=patch_size,
        time_stride=time_stride,
        space_stride=space_stride,
        features=features,
        levels=FSQ_LEVELS if discrete else (),
        mean=None,
        std=None,
    )


CV_8X8X8 = CosmosConfig()
"""8x8x8 with 16 channels, 106 million parameters: 1.0, the one whose statistics are known."""

CV_4X8X8_01, CV_8X8X8_01, CV_8X16X16_01 = _tokenizer(4, 8), _tokenizer(8, 8), _tokenizer(8, 16)
DV_4X8X8_01, DV_8X8X8_01, DV_8X16X16 = (
    _tokenizer(time, space, features=16, discrete=True) for time, space in ((4, 8), (8, 8), (8, 16))
)
CV_4X8X8_360P = _tokenizer(4, 8, patch_size=2)
DV_4X8X8_360P = _tokenizer(4, 8, patch_size=2, features=256, discrete=True)
