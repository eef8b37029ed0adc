"""MiniMax-H3's autoencoder: a causal convolutional encoder, and a transformer that decodes.

Both are defined on tiles of 256 pixels, faded into each other, and on clips: the encoder on 17 frames by themselves,
where norms see one frame; the decoder on 7 latents, 5 from one clip to the next. The first latent of each clip holds
one frame, the others four. Released videos are made so, and the decoder's positions are relative to the tile, so this
is the model here, not a way to save memory. Pixels are normalised as ImageNet's are, inside.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.image_kl.model import residual_block
from vidlatent.autoencoders.minimax_h3.clips import Overlap, TiledDecoder, TiledEncoder
from vidlatent.autoencoders.minimax_h3.config import MiniMaxH3Config
from vidlatent.autoencoders.minimax_h3.layout import Layout
from vidlatent.autoencoders.minimax_h3.transformer import TileTransformer
from vidlatent.autoencoders.upstream import Upstream
from vidlatent.nn import Chain, Conv3d, Fit, GroupNorm, Residual, Scale, named
from vidlatent.streaming import Window

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def build(config: MiniMaxH3Config) -> Trees:
    """Both trees, with random weights."""
    t, space, _ = config.stride
    size, overlap = config.tile // space, config.tile_overlap // space
    lead = -config.clip % t
    meet = Overlap(config.clip_latents + -config.dropped % config.clip_latents, config.clip_latents, t, lead)
    encoder = named(
        fit=Fit(config.stride, single_first=True, run=config.clip),
        pixels=Scale([0.5 / std for std in _STD], [(0.5 - m) / std for m, std in zip(_MEAN, _STD, strict=True)]),
        tiled=TiledEncoder(_encoder(config), config.clip, Layout(size, overlap, space, 1)),
    )
    decoder = named(
        post_quant_conv=Conv3d(config.latent_channels, config.latent_channels),
        tiled=TiledDecoder(TileTransformer(config), meet, Layout(size, overlap, 1, space)),
        pixels=Scale([2 * std for std in _STD], [2 * mean - 1 for mean in _MEAN]),
    )
    upstream = Upstream(without_tiles="its tiles are the model, and always on")
    return Trees(encoder, decoder, config.spec, has_logvar=True, upstream=upstream)


def _encoder(config: MiniMaxH3Config) -> Chain:
    """Of a tile of a clip."""
    levels, moments = [], 2 * config.latent_channels
    steps = zip(config.time_steps, config.space_steps, strict=True)
    for (before, width), (time, space) in zip(pairwise((config.widths[0], *config.widths)), steps, strict=True):
        blocks = [_block(before if i == 0 else width, width, config.groups) for i in range(config.num_res_blocks)]
        levels.append(Chain(*blocks, *([_step(width, time)] if space > 1 else [])))
    return named(
        conv_in=_conv(3, config.widths[0]),
        levels=Chain(*levels),
        norm_out=GroupNorm(config.groups, config.widths[-1], over="frame", silu=True),
        conv_out=_conv(config.widths[-1], moments),
        quant_conv=Conv3d(moments, moments),
    )


def _block(width_in: int, width: int, groups: int) -> Residual:
    return residual_block(width_in, width, partial(GroupNorm, groups, over="frame", silu=True), _conv)


def _step(width: int, time: int) -> Conv3d:
    edge = Window(3, 2, 0, 1, "reflect")
    return Conv3d(width, width, t=Window(3, time, 2, 0), h=edge, w=edge)


def _conv(width_in: int, width: int) -> Conv3d:
    edges = Window.centred(3, mode="reflect")
    return Conv3d(width_in, width, t=Window.causal(3), h=edges, w=edges)
