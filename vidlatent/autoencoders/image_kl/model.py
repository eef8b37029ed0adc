"""The image autoencoder of latent diffusion (Rombach et al., arXiv:2112.10752), applied to each frame by itself.

Group norms and the attention in the middle see one frame whole, which makes them barriers along H; along T nothing is
remembered. Names of the parts follow github.com/CompVis/latent-diffusion, where the architecture comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.image_kl.config import ImageKLConfig
from vidlatent.autoencoders.tiles import Tiles
from vidlatent.autoencoders.upstream import Upstream
from vidlatent.nn import Chain, Conv3d, DoubledConv3d, Fit, FrameAttention, GroupNorm, Residual, named
from vidlatent.streaming import Sweepable, Window

_EDGES = Window.centred(3)


def build(config: ImageKLConfig) -> Trees:
    """Both trees, with random weights."""
    size, stride = config.sample_size, config.stride[1]
    upstream = Upstream(tiles=Tiles.square(size, size - size // 4, stride))
    return Trees(image_encoder(config), _decoder(config), config.spec, has_logvar=True, upstream=upstream)


def image_encoder(config: ImageKLConfig) -> Chain:
    """Frames to the moments of their latents."""
    widths, moments = config.widths, 2 * config.latent_channels
    steps = [*(frame_conv(width, width, Window(3, 2, 0, 1)) for width in widths[:-1]), None]
    levels = [
        _level(config, pair, config.num_res_blocks, step)
        for pair, step in zip(pairwise((widths[0], *widths)), steps, strict=True)
    ]
    return named(
        fit=Fit(config.stride, single_first=False),
        conv_in=frame_conv(3, widths[0]),
        levels=Chain(*levels),
        middle=_middle(config, widths[-1]),
        norm_out=GroupNorm(config.groups, widths[-1], over="frame", silu=True),
        conv_out=frame_conv(widths[-1], moments),
        quant_conv=Conv3d(moments, moments) if config.quant_conv else Chain(),
    )


def _decoder(config: ImageKLConfig) -> Chain:
    widths, channels = config.widths[::-1], config.latent_channels
    steps = [*(double(width) for width in widths[:-1]), None]
    levels = [
        _level(config, pair, config.num_res_blocks + 1, step)
        for pair, step in zip(pairwise((widths[0], *widths)), steps, strict=True)
    ]
    return named(
        post_quant_conv=Conv3d(channels, channels) if config.post_quant_conv else Chain(),
        conv_in=frame_conv(channels, widths[0]),
        middle=_middle(config, widths[0]),
        levels=Chain(*levels),
        norm_out=GroupNorm(config.groups, widths[-1], over="frame", silu=True),
        conv_out=frame_conv(widths[-1], 3),
    )


def _level(config: ImageKLConfig, widths: tuple[int, int], count: int, step: Sweepable | None) -> Chain:
    """Blocks at one resolution, then the step to the next, if there is one."""
    before, width = widths
    blocks = [frame_block(before if i == 0 else width, width, config.groups) for i in range(count)]
    return Chain(*blocks, *([step] if step else []))


def _middle(config: ImageKLConfig, width: int) -> Chain:
    attention = frame_attention(width, config.groups) if config.middle_attention else Chain()
    return Chain(frame_block(width, width, config.groups), attention, frame_block(width, width, config.groups))


def frame_block(width_in: int, width: int, groups: int) -> Residual:
    """Two 3x3 convolutions of each frame behind group norms."""
    return residual_block(width_in, width, partial(GroupNorm, groups, over="frame", silu=True), frame_conv)


def residual_block(
    width_in: int, width: int, norm: Callable[[int], Sweepable], conv: Callable[[int, int], Sweepable]
) -> Residual:
    """Two convolutions behind norms that take their activation along, a pointwise shortcut where the width changes.

    The places of the activations are empty: names of weights count them.
    """
    body = Chain(
        *(norm(width_in), Chain(), conv(width_in, width)),
        *(norm(width), Chain(), conv(width, width)),
    )
    return Residual(body, Conv3d(width_in, width) if width_in != width else None)


def frame_attention(width: int, groups: int) -> Residual:
    """Attention among the positions of a frame, with one head."""
    return Residual(Chain(GroupNorm(groups, width, over="frame"), FrameAttention(width)))


def double(width: int) -> Chain:
    """Double the resolution."""
    return Chain(Chain(), DoubledConv3d(width, width))


def frame_conv(width_in: int, width: int, window: Window = _EDGES) -> Conv3d:
    """A 3x3 convolution of each frame."""
    return Conv3d(width_in, width, h=window, w=window)
