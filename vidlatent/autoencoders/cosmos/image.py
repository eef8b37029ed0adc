"""Cosmos' image tokenizers (NVIDIA, arXiv:2501.03575), applied to each frame by itself.

A wavelet packet of each frame, then the blocks of latent diffusion's image autoencoder: norms and the attention in the
middle see one frame whole. Latents are continuous and deterministic, or rounded to few levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.cosmos.config import FSQ_LEVELS
from vidlatent.autoencoders.image_kl.model import double, frame_attention, frame_block, frame_conv
from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.errors import ModelError
from vidlatent.nn import Chain, Conv3d, Fit, GroupNorm, named
from vidlatent.nn.wavelet_packet import HaarPacket, InverseHaarPacket
from vidlatent.quantize import FiniteScalarQuantizer
from vidlatent.streaming import H, Sweepable, W, Window

_COLUMNS_FIRST = (W, H)


@dataclass(frozen=True)
class CosmosImageConfig:
    """Widths and strides; the defaults are CI16x16 of version 0.1.

    Blocks of `patch_size` pixels become channels; the rest of `space_stride` is halved behind the encoder's first
    levels. Level `i` of the encoder works at `widths[i + 1]` channels, behind a first convolution to `widths[0]`; the
    decoder goes back through all but that one. Both end at `features` channels beside the latents. A discrete tokenizer
    has `levels`, one for each latent channel. Raises `ModelError` where the fields contradict each other.
    """

    latent_channels: int = 16
    widths: tuple[int, ...] = (128, 256, 512, 512)
    num_res_blocks: int = 2
    groups: int = 32
    patch_size: int = 4
    space_stride: int = 16
    features: int = 16
    levels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(*self.widths, self.num_res_blocks, self.features, self.latent_channels) < 1:
            raise ModelError(
                f"2 widths or more, num_res_blocks, features and latent_channels of 1 at least, got {self}"
            )
        if any(width % self.groups for width in self.widths):
            raise ModelError(f"widths {self.widths} do not divide into {self.groups} groups")
        allowed = [self.patch_size * 2**count for count in range(len(self.widths))]
        if self.patch_size not in (2, 4, 8) or self.space_stride not in allowed:
            raise ModelError(f"space_stride {self.space_stride} with patch_size {self.patch_size}: choose of {allowed}")
        if self.levels and (len(self.levels) != self.latent_channels or min(self.levels) < 2):
            raise ModelError(f"levels needs 2 or more for each of {self.latent_channels} channels, got {self.levels}")

    @property
    def spec(self) -> LatentSpec:
        """The latent grid."""
        return LatentSpec(self.latent_channels, (1, self.space_stride, self.space_stride), "grouped")

    @property
    def patch_levels(self) -> int:
        """How often patching halves a frame."""
        return self.patch_size.bit_length() - 1

    @property
    def num_steps(self) -> int:
        """How many levels are followed by a step to half the resolution."""
        return (self.space_stride // self.patch_size).bit_length() - 1


def build(config: CosmosImageConfig) -> Trees:
    """Both trees, with random weights."""
    return Trees(_encoder(config), _decoder(config), config.spec, has_logvar=False)


def _encoder(config: CosmosImageConfig) -> Chain:
    widths = config.widths
    steps = [_halve(width) if level < config.num_steps else Chain() for level, width in enumerate(widths[1:])]
    levels = [_level(config, pair, 0, step) for pair, step in zip(pairwise(widths), steps, strict=True)]
    return named(
        fit=Fit(config.spec.stride, single_first=False),
        patch=HaarPacket(config.patch_levels, axes=_COLUMNS_FIRST),
        conv_in=frame_conv(3 * config.patch_size**2, widths[0]),
        levels=Chain(*levels),
        middle=_middle(widths[-1], config.groups),
        norm_out=GroupNorm(config.groups, widths[-1], over="frame", silu=True),
        conv_out=frame_conv(widths[-1], config.features),
        quant_conv=Conv3d(config.features, config.latent_channels),
        quantize=FiniteScalarQuantizer(config.levels) if config.levels else Chain(),
    )


def _decoder(config: CosmosImageConfig) -> Chain:
    widths = config.widths[:0:-1]
    steps = [double(width) if level < config.num_steps else Chain() for level, width in enumerate(widths)]
    pairs = pairwise((widths[0], *widths))
    levels = [_level(config, pair, 1, step) for pair, step in zip(pairs, steps, strict=True)]
    return named(
        post_quant_conv=Conv3d(config.latent_channels, config.features),
        conv_in=frame_conv(config.features, widths[0]),
        middle=_middle(widths[0], config.groups),
        levels=Chain(*levels),
        norm_out=GroupNorm(config.groups, widths[-1], over="frame", silu=True),
        conv_out=frame_conv(widths[-1], 3 * config.patch_size**2),
        unpatch=InverseHaarPacket(config.patch_levels, axes=_COLUMNS_FIRST),
    )


def _level(config: CosmosImageConfig, widths: tuple[int, int], more: int, step: Sweepable) -> Chain:
    """Blocks at one resolution, `more` of them than in the encoder, then the step to the next."""
    before, width = widths
    count = config.num_res_blocks + more
    return Chain(*(frame_block(before if i == 0 else width, width, config.groups) for i in range(count)), step)


def _middle(width: int, groups: int) -> Chain:
    return Chain(frame_block(width, width, groups), frame_attention(width, groups), frame_block(width, width, groups))


def _halve(width: int) -> Conv3d:
    return frame_conv(width, width, Window(3, 2, 0, 1))


CI_16X16_01 = CosmosImageConfig()
CI_8X8_01 = CosmosImageConfig(space_stride=8)
DI_16X16_01 = CosmosImageConfig(latent_channels=6, features=256, levels=FSQ_LEVELS)
DI_8X8_01 = CosmosImageConfig(latent_channels=6, features=256, levels=FSQ_LEVELS, space_stride=8)
CI_16X16_360P = CosmosImageConfig(patch_size=2)
CI_8X8_360P = CosmosImageConfig(patch_size=2, space_stride=8)
DI_16X16_360P = CosmosImageConfig(latent_channels=6, features=256, levels=FSQ_LEVELS, patch_size=2)
DI_8X8_360P = CosmosImageConfig(latent_channels=6, features=256, levels=FSQ_LEVELS, patch_size=2, space_stride=8)
