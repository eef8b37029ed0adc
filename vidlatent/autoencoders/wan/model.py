"""Wan's causal video autoencoder: per-position norms, convolutions, one attention per frame at the latent grid.

Frame 0 stays single: no temporal resampling touches it. Going down it is passed on and the strided convolution starts
behind it; going up it is passed on and is hidden from the convolution that doubles the others, which sees zeros
there. Everywhere else time is padded with zeros in front. Architecture: Wan Team, arXiv:2503.20314; this whole-clip
form equals the cached chunks (one frame, then four by four) in which Wan is published.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.autoencoders.tiles import Tiles
from vidlatent.autoencoders.upstream import Upstream
from vidlatent.autoencoders.wan.config import WanConfig
from vidlatent.autoencoders.wan.shortcut import average_down, duplicate_up
from vidlatent.nn import (
    Chain,
    Conv3d,
    DepthToSpace,
    DoubledConv3d,
    FirstFrame,
    Fit,
    FrameAttention,
    Residual,
    RMSNorm,
    SpaceToDepth,
    Trim,
    named,
)
from vidlatent.streaming import Sweepable, T, Window


def build(config: WanConfig) -> Trees:
    """Both trees, with random weights."""
    spec = LatentSpec(config.latent_channels, config.stride, "single", config.mean, config.std)
    return Trees(_encoder(config), _decoder(config), spec, has_logvar=True, upstream=_upstream(config))


def _upstream(config: WanConfig) -> Upstream:
    """Tiles of 256 pixels, 192 apart: of folded pixels for the encoder of Wan 2.2, whose cross-fades are of patches."""
    space, patch = config.stride[1], config.patch_size
    tiles, folded = Tiles.square(256, 192, space, grain=patch), Tiles.square(256, 192, space // patch)
    return Upstream(tiles=tiles, encoder_tiles=replace(folded, beyond=tiles.size))


def _encoder(config: WanConfig) -> Chain:
    dims = [config.base_dim * multiplier for multiplier in (1, *config.multipliers)]
    moments, patch = 2 * config.latent_channels, (1, config.patch_size, config.patch_size)
    return named(
        fit=Fit(config.stride, single_first=True),
        patch=SpaceToDepth(patch) if config.patch_size > 1 else Chain(),
        conv_in=_conv(config.video_channels, dims[0]),
        levels=Chain(*(_level_down(config, index, *pair) for index, pair in enumerate(pairwise(dims)))),
        middle=_middle(dims[-1]),
        norm_out=RMSNorm(dims[-1], silu=True),
        conv_out=_conv(dims[-1], moments),
        quant_conv=Conv3d(moments, moments),
    )


def _decoder(config: WanConfig) -> Chain:
    dims = [config.decoder_dim * multiplier for multiplier in (config.multipliers[-1], *config.multipliers[::-1])]
    patch = (1, config.patch_size, config.patch_size)
    return named(
        post_quant_conv=Conv3d(config.latent_channels, config.latent_channels),
        conv_in=_conv(config.latent_channels, dims[0]),
        middle=_middle(dims[0]),
        levels=Chain(*(_level_up(config, index, *pair) for index, pair in enumerate(pairwise(dims)))),
        norm_out=RMSNorm(dims[-1], silu=True),
        conv_out=_conv(dims[-1], config.video_channels),
        unpatch=DepthToSpace(patch) if config.patch_size > 1 else Chain(),
    )


def _level_down(config: WanConfig, index: int, dim_in: int, dim_out: int) -> Sweepable:
    """Blocks at one resolution, then the step to the next; the last level has no step."""
    steps, is_last = config.temporal_downsample, index == len(config.temporal_downsample)
    blocks = [_block(dim_in if i == 0 else dim_out, dim_out) for i in range(config.num_res_blocks)]
    body = Chain(*blocks, *([] if is_last else [_downsample(dim_out, in_time=steps[index])]))
    if not config.residual_levels:
        return body
    factors = (1, 1, 1) if is_last else (2 if steps[index] else 1, 2, 2)
    return Residual(body, average_down(dim_in, dim_out, factors))


def _level_up(config: WanConfig, index: int, dim_in: int, dim_out: int) -> Sweepable:
    """Blocks at one resolution, then the step to the next; steps come in the encoder's reverse order."""
    steps, is_last = config.temporal_downsample[::-1], index == len(config.temporal_downsample)
    if index and not config.residual_levels:
        dim_in //= 2  # the step before halved the channels
    blocks = [_block(dim_in if i == 0 else dim_out, dim_out) for i in range(config.num_res_blocks + 1)]
    if is_last:
        return Chain(*blocks)
    stepped = dim_out if config.residual_levels else dim_out // 2
    body = Chain(*blocks, _upsample(dim_out, stepped, in_time=steps[index]))
    if not config.residual_levels:
        return body
    return Residual(body, duplicate_up(dim_in, dim_out, (2 if steps[index] else 1, 2, 2)))


def _downsample(dim: int, *, in_time: bool) -> Chain:
    """Halve space (padded right and below only), then time behind the first frame."""
    space = Conv3d(dim, dim, h=Window(3, 2, 0, 1), w=Window(3, 2, 0, 1))
    time = FirstFrame(Conv3d(dim, dim, t=Window(3, 2))) if in_time else Chain()
    return named(space=space, time=time)


def _upsample(dim: int, dim_out: int, *, in_time: bool) -> Chain:
    """Double time behind the first frame, then space."""
    pair = Chain(Trim(T, before=1), Conv3d(dim, 2 * dim, t=Window.causal(3)), DepthToSpace((2, 1, 1)))
    return named(
        time=FirstFrame(pair) if in_time else Chain(),
        space=DoubledConv3d(dim, dim_out),
    )


def _middle(dim: int) -> Chain:
    attention = Residual(Chain(RMSNorm(dim), FrameAttention(dim)))
    return Chain(_block(dim, dim), attention, _block(dim, dim))


def _block(dim_in: int, dim_out: int) -> Residual:
    body = Chain(
        RMSNorm(dim_in, silu=True), _conv(dim_in, dim_out), RMSNorm(dim_out, silu=True), _conv(dim_out, dim_out)
    )
    return Residual(body, Conv3d(dim_in, dim_out) if dim_in != dim_out else None)


def _conv(dim_in: int, dim_out: int) -> Conv3d:
    return Conv3d(dim_in, dim_out, t=Window.causal(3), h=Window.centred(3), w=Window.centred(3))
