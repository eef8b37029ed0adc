"""CogVideoX's autoencoder (Yang et al., arXiv:2408.06072): causal convolutions, group norms over time and space.

A clip is normalised as a whole here, `1 + 4k` frames to `1 + k` latents, the first frame single. Upstream cuts a clip
into 8 frames (2 latents) at a time, the remainder joining the first, and normalises each such chunk by itself: up to
15 frames and 3 latents that is one chunk and the same answer, for longer clips it depends on the cut. Upstream also
takes an even number of latents for clips without a single first frame; here the first frame is always single.

The decoder's norms are scaled and shifted by the latents at each position. These travel along as the last channels,
and are enlarged with the activations.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.cogvideox.config import CogVideoXConfig
from vidlatent.autoencoders.image_kl.model import residual_block
from vidlatent.autoencoders.tiles import Tiles
from vidlatent.autoencoders.upstream import Chunks, Upstream
from vidlatent.nn import (
    Chain,
    Concat,
    Conv3d,
    DoubledConv3d,
    Fit,
    GroupNorm,
    Nearest,
    Residual,
    SpaceToDepth,
    Trim,
    named,
)
from vidlatent.nn.channels import GroupMean, TakeChannels
from vidlatent.nn.spatial_norm import SpatialNorm
from vidlatent.streaming import Sweepable, T, Window

_PAST, _EDGES = Window.causal(3, mode="replicate"), Window.centred(3)
_MIDDLE_BLOCKS = 2


def build(config: CogVideoXConfig) -> Trees:
    """Both trees, with random weights."""
    return Trees(_encoder(config), _decoder(config), config.spec, has_logvar=True, upstream=_upstream(config))


def _upstream(config: CogVideoXConfig) -> Upstream:
    """Two latents at a time; tiles of 240 x 360 pixels that share a sixth of their rows, a fifth of their columns."""
    rows, columns = 240 // config.spec.stride[1], 360 // config.spec.stride[2]
    return Upstream(Chunks(2, "first"), Tiles((rows, columns), (rows - rows // 6, columns - columns // 5)))


def _encoder(config: CogVideoXConfig) -> Chain:
    widths, wide = config.widths, config.widths[-1]
    levels = []
    for index, (before, width) in enumerate(pairwise((widths[0], *widths))):
        blocks = [_block(before if i == 0 else width, width, config.groups) for i in range(config.num_res_blocks)]
        is_last = index == len(widths) - 1
        levels.append(Chain(*blocks, *([] if is_last else [_halve(width, in_time=index < config.num_time_steps)])))
    return named(
        fit=Fit(config.spec.stride, single_first=True),
        conv_in=_conv(3, widths[0]),
        levels=Chain(*levels),
        middle=Chain(*(_block(wide, wide, config.groups) for _ in range(_MIDDLE_BLOCKS))),
        norm_out=GroupNorm(config.groups, wide, silu=True),
        conv_out=_conv(wide, 2 * config.latent_channels),
    )


def _decoder(config: CogVideoXConfig) -> Chain:
    widths, wide, z = config.widths[::-1], config.widths[-1], config.latent_channels
    levels = []
    for index, (before, width) in enumerate(pairwise((wide, *widths))):
        count = config.num_res_blocks + 1
        blocks = [_conditioned_block(before if i == 0 else width, width, config) for i in range(count)]
        is_last = index == len(widths) - 1
        step = [] if is_last else [_double(width, z, in_time=index < config.num_time_steps)]
        levels.append(Chain(*blocks, *step))
    return named(
        conv_in=Concat(_conv(z, wide), Chain()),
        middle=Chain(*(_conditioned_block(wide, wide, config) for _ in range(_MIDDLE_BLOCKS))),
        levels=Chain(*levels),
        norm_out=SpatialNorm(config.groups, widths[-1], z),
        take=_take(widths[-1]),
        conv_out=_conv(widths[-1], 3),
    )


def _block(width_in: int, width: int, groups: int) -> Residual:
    return residual_block(width_in, width, partial(GroupNorm, groups, silu=True), _conv)


def _conditioned_block(width_in: int, width: int, config: CogVideoXConfig) -> Concat:
    """A block on the activations, with the latents beside it."""
    z = config.latent_channels
    body = named(
        norm1=SpatialNorm(config.groups, width_in, z),
        conv1=_beside(_conv(width_in, width), width_in, z),
        norm2=SpatialNorm(config.groups, width, z),
        take=_take(width),
        conv2=_conv(width, width),
    )
    shortcut = named(take=_take(width_in), mix=Conv3d(width_in, width) if width_in != width else Chain())
    return Concat(Residual(body, shortcut), _take(z, start=width_in))


def _beside(module: Sweepable, width: int, z: int) -> Concat:
    """`module` on the activations, the latents as they are."""
    return Concat(Chain(_take(width), module), _take(z, start=width))


def _take(count: int, *, start: int = 0) -> TakeChannels:
    return TakeChannels(range(start, start + count))


def _halve(width: int, *, in_time: bool) -> Chain:
    """Average pairs of frames, the first with a copy of itself, then halve space by a strided convolution."""
    pair = Chain(SpaceToDepth((2, 1, 1), before=1), GroupMean(2)) if in_time else Chain()
    edge = Window(3, 2, 0, 1)
    return named(time=pair, space=Conv3d(width, width, h=edge, w=edge))


def _double(width: int, z: int, *, in_time: bool) -> Chain:
    """Repeat activations and latents, all frames but the first, and mix the activations' rows and columns."""
    repeat = Chain(Nearest((2, 1, 1)), Trim(T, before=1)) if in_time else Chain()
    latents = Chain(_take(z, start=width), Nearest((1, 2, 2)))
    return named(repeat=repeat, space=Concat(Chain(_take(width), DoubledConv3d(width, width)), latents))


def _conv(width_in: int, width: int) -> Conv3d:
    return Conv3d(width_in, width, t=_PAST, h=_EDGES, w=_EDGES)
