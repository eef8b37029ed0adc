"""Stable Video Diffusion's autoencoder (Blattmann et al., arXiv:2311.15127): an image encoder, a decoder of clips.

Behind each block of a frame the decoder has one along time, of which a learned part is added. Its group norms see the
whole clip: they are barriers along T. Here a clip is all that is decoded together; pipelines that decode in runs of a
few frames (`decode_chunk_size`) normalise, and pad with zeros, each run by itself.
"""

from __future__ import annotations

from itertools import pairwise

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.image_kl.model import double, frame_attention, frame_block, frame_conv, image_encoder
from vidlatent.autoencoders.svd.config import SVDConfig
from vidlatent.autoencoders.upstream import Upstream
from vidlatent.nn import Chain, Conv3d, GroupNorm, Residual, named
from vidlatent.nn.gate import Gate
from vidlatent.streaming import Window

_TEMPORAL_EPS = 1e-5


def build(config: SVDConfig) -> Trees:
    """Both trees, with random weights."""
    upstream = Upstream(without_tiles="diffusers' enable_tiling() raises an error there")
    frames = config.frames
    return Trees(image_encoder(frames), _decoder(config), frames.spec, has_logvar=True, upstream=upstream)


def _decoder(config: SVDConfig) -> Chain:
    widths, groups = config.widths[::-1], config.groups
    levels = [
        Chain(
            *(_block(before if i == 0 else width, width, groups) for i in range(config.frames.num_res_blocks + 1)),
            *([double(width)] if index < len(widths) - 1 else []),
        )
        for index, (before, width) in enumerate(pairwise((widths[0], *widths)))
    ]
    wide = widths[0]
    return named(
        conv_in=frame_conv(config.latent_channels, wide),
        middle=Chain(_block(wide, wide, groups), frame_attention(wide, groups), _block(wide, wide, groups)),
        levels=Chain(*levels),
        norm_out=GroupNorm(groups, widths[-1], over="frame", silu=True),
        conv_out=frame_conv(widths[-1], 3),
        time_conv_out=_time_conv(3),
    )


def _block(width_in: int, width: int, groups: int) -> Chain:
    """A block of the frame, then one along time."""
    time = Chain(
        *(GroupNorm(groups, width, over="clip", eps=_TEMPORAL_EPS, silu=True), Chain(), _time_conv(width)),
        *(GroupNorm(groups, width, over="clip", eps=_TEMPORAL_EPS, silu=True), Chain(), _time_conv(width)),
        Gate(),
    )
    return Chain(frame_block(width_in, width, groups), Residual(time))


def _time_conv(width: int) -> Conv3d:
    return Conv3d(width, width, t=Window.centred(3))
