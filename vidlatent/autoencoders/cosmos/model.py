"""Cosmos' video tokenizers (NVIDIA, arXiv:2501.03575): wavelets, factorised convolutions, causal in time.

Each convolution is one of the frame and one along time, whose past begins with copies of the first frame. Norms see a
frame whole, the attention in the middle a frame and then a position's past. Latents are continuous and deterministic,
or rounded to few levels.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.cosmos.config import CosmosConfig
from vidlatent.autoencoders.image_kl.model import residual_block
from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.nn import (
    Chain,
    Conv3d,
    DoubledConv3d,
    Fit,
    FrameAttention,
    GroupNorm,
    Nearest,
    Residual,
    SpaceToDepth,
    TemporalAttention,
    Trim,
    named,
)
from vidlatent.nn.channels import GroupMean
from vidlatent.nn.wavelet_packet import HaarPacket, InverseHaarPacket
from vidlatent.quantize import FiniteScalarQuantizer
from vidlatent.streaming import T, Window

_PAST, _EDGES = Window.causal(3, mode="replicate"), Window.centred(3)


def build(config: CosmosConfig) -> Trees:
    """Both trees, with random weights."""
    spec = LatentSpec(config.latent_channels, config.stride, "single", config.mean or (), config.std or ())
    return Trees(_encoder(config), _decoder(config), spec, has_logvar=False)


def _encoder(config: CosmosConfig) -> Chain:
    widths, count = config.encoder_widths, config.num_res_blocks
    times, spaces = config.num_steps
    levels = [
        Chain(*_blocks(pair, count), _down(pair[1], in_time=index < times, in_space=index < spaces))
        for index, pair in enumerate(pairwise(widths))
    ]
    return named(
        fit=Fit(config.stride, single_first=True),
        patch=HaarPacket(config.patch_levels, before=config.patch_size - 1),
        conv_in=_conv(3 * config.patch_size**3, widths[0]),
        levels=Chain(*levels),
        middle=_middle(widths[-1]),
        norm_out=_norm(widths[-1], silu=True),
        conv_out=_conv(widths[-1], config.num_features),
        quant_conv=Conv3d(config.num_features, config.latent_channels),
        quantize=FiniteScalarQuantizer(config.levels) if config.levels else Chain(),
    )


def _decoder(config: CosmosConfig) -> Chain:
    widths, count = config.decoder_widths[::-1], config.num_res_blocks + 1
    times, spaces = config.num_steps
    levels = []
    for index, pair in enumerate(pairwise(widths)):
        in_time = 0 < index <= times
        in_space = in_time or index < spaces - times  # the first steps are those in space alone
        has_step = index < len(widths) - 2
        levels.append(
            Chain(*_blocks(pair, count), _up(pair[1], in_time=in_time and has_step, in_space=in_space and has_step))
        )
    return named(
        post_quant_conv=Conv3d(config.latent_channels, config.num_features),
        conv_in=_conv(config.num_features, widths[0]),
        middle=_middle(widths[0]),
        levels=Chain(*levels),
        norm_out=_norm(widths[-1], silu=True),
        conv_out=_conv(widths[-1], 3 * config.patch_size**3),
        unpatch=InverseHaarPacket(config.patch_levels),
        trim=Trim(T, before=config.patch_size - 1),
    )


def _blocks(widths: tuple[int, int], count: int) -> list[Residual]:
    return [_block(widths[0] if i == 0 else widths[1], widths[1]) for i in range(count)]


def _down(width: int, *, in_time: bool, in_space: bool) -> Chain:
    """Halve by a strided convolution beside the mean; the first frame is averaged with a copy of itself."""
    if not (in_time or in_space):
        return Chain()
    edge, past = Window(3, 2, 0, 1), Window(3, 2, 2, 0, "replicate")
    space = Residual(Conv3d(width, width, h=edge, w=edge), Chain(SpaceToDepth((1, 2, 2)), GroupMean(4)))
    time = Residual(Conv3d(width, width, t=past), Chain(SpaceToDepth((2, 1, 1), before=1), GroupMean(2)))
    return named(space=space if in_space else Chain(), time=time if in_time else Chain(), mix=Conv3d(width, width))


def _up(width: int, *, in_time: bool, in_space: bool) -> Chain:
    """Double by repetition, then a convolution beside it; the first frame stays single."""
    if not (in_time or in_space):
        return Chain()
    time = Chain(Nearest((2, 1, 1)), Trim(T, before=1), Residual(Conv3d(width, width, t=_PAST)))
    space = Chain(Chain(), Residual(DoubledConv3d(width, width), Nearest((1, 2, 2))))
    return named(time=time if in_time else Chain(), space=space if in_space else Chain(), mix=Conv3d(width, width))


def _middle(width: int) -> Chain:
    frame = Residual(Chain(_norm(width), FrameAttention(width)))
    past = Residual(Chain(_norm(width), TemporalAttention(width)))
    return Chain(_block(width, width), frame, past, _block(width, width))


def _block(width_in: int, width: int) -> Residual:
    return residual_block(width_in, width, partial(_norm, silu=True), _conv)


def _norm(width: int, *, silu: bool = False) -> GroupNorm:
    return GroupNorm(1, width, over="frame", silu=silu)


def _conv(width_in: int, width: int) -> Chain:
    return named(space=Conv3d(width_in, width, h=_EDGES, w=_EDGES), time=Conv3d(width, width, t=_PAST))
