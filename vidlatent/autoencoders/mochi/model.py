"""Mochi's causal video autoencoder: norms of each frame by itself, and in the encoder attention along time.

Convolutions pad every axis with copies of its ends, time in front only. Frame 0 stays single: going down its block is
filled with copies of it, going up what comes of those is dropped. Architecture: Genmo, github.com/genmoai/mochi. The
whole clip is the definition; diffusers' framewise paths pad time with zeros instead, and do not run.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.mochi.config import MochiConfig
from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.autoencoders.tiles import Tiles
from vidlatent.autoencoders.upstream import Upstream
from vidlatent.nn import Chain, Conv3d, DepthToSpace, Fit, GroupNorm, Residual, SiLU, TemporalAttention, Trim, named
from vidlatent.streaming import Pointwise, T, Window

_GROUPS, _HEAD = 32, 32
_OCTAVES = (6, 7)


def build(config: MochiConfig) -> Trees:
    """Both trees, with random weights."""
    spec = LatentSpec(config.latent_channels, config.stride, "single", config.mean, config.std)
    upstream = Upstream(tiles=Tiles.square(256, 192, config.stride[1]))
    return Trees(_encoder(config), _decoder(config), spec, has_logvar=True, upstream=upstream)


def _encoder(config: MochiConfig) -> Chain:
    widths, steps = config.encoder_widths, zip(config.temporal, config.spatial, strict=True)
    inner = zip(pairwise(widths), steps, config.blocks[1:-1], config.attention[1:-1], strict=True)
    downs = [
        named(conv_in=_down(*pair, *step), layers=_layers(pair[1], depth, attend=attend))
        for pair, step, depth, attend in inner
    ]
    return named(
        fit=Fit(config.stride, single_first=True),
        fourier=FourierFeatures(),
        proj_in=Conv3d(3 * (1 + 2 * len(_OCTAVES)), widths[0]),
        block_in=named(layers=_layers(widths[0], config.blocks[0], attend=config.attention[0])),
        down_blocks=Chain(*downs),
        block_out=named(layers=_layers(widths[-1], config.blocks[-1], attend=config.attention[-1])),
        norm_out=_norm(widths[-1], silu=True),
        proj_out=Conv3d(widths[-1], 2 * config.latent_channels, bias=False),
    )


def _decoder(config: MochiConfig) -> Chain:
    widths, steps = config.decoder_widths[::-1], zip(config.temporal[::-1], config.spatial[::-1], strict=True)
    inner = zip(pairwise(widths), steps, config.blocks[-2:0:-1], strict=True)
    ups = [
        named(
            layers=_layers(dim_in, depth),
            proj=Conv3d(dim_in, dim_out * time * space**2),
            unfold=DepthToSpace((time, space, space)),
        )
        for (dim_in, dim_out), (time, space), depth in inner
    ]
    return named(
        conv_in=Conv3d(config.latent_channels, widths[0]),
        block_in=named(layers=_layers(widths[0], config.blocks[-1])),
        up_blocks=Chain(*ups),
        block_out=named(layers=_layers(widths[-1], config.blocks[0])),
        silu=SiLU(),
        proj_out=Conv3d(widths[-1], 3),
        trim=Trim(T, before=config.stride[0] - 1),
    )


def _down(dim_in: int, dim_out: int, time: int, space: int) -> Conv3d:
    """One number per block, the first frame's block filled with copies of it."""
    times, block = Window(time, time, time - 1, 0, "replicate"), Window(space, space)
    return Conv3d(dim_in, dim_out, t=times, h=block, w=block)


def _layers(dim: int, depth: int, *, attend: bool = False) -> Chain:
    """Residual blocks, each followed by attention along time where `attend`."""
    layers = [named(resnets=_block(dim), attentions=_attention(dim) if attend else Chain()) for _ in range(depth)]
    return Chain(*layers)


def _block(dim: int) -> Residual:
    body = named(norm1=_norm(dim, silu=True), conv1=_conv(dim), norm2=_norm(dim, silu=True), conv2=_conv(dim))
    return Residual(body)


def _attention(dim: int) -> Residual:
    attend = TemporalAttention(dim, heads=dim // _HEAD)
    attend.to_qkv = UnitQueriesAndKeys(dim)
    return Residual(named(norm=_norm(dim), attend=attend))


def _norm(dim: int, *, silu: bool = False) -> GroupNorm:
    return GroupNorm(_GROUPS, dim, over="frame", silu=silu, eps=1e-5)


def _conv(dim: int) -> Conv3d:
    space = Window.centred(3, mode="replicate")
    return Conv3d(dim, dim, t=Window.causal(3, mode="replicate"), h=space, w=space)


class FourierFeatures(Pointwise):
    """Each channel, then sines and cosines of it at `2 pi 2^k` for octaves k: (B, C, ...) to (B, 5C, ...).

    Worked out in float32, as it was trained: a phase of so many turns is no number for float16.
    """

    def apply_to(self, x: Tensor) -> Tensor:
        rows = x.permute(0, 2, 3, 4, 1).float()
        turns = torch.pow(2.0, torch.tensor(_OCTAVES, dtype=torch.float32, device=x.device)) * (2 * torch.pi)
        phases = (rows[..., None] * turns).flatten(-2)
        return torch.cat([rows, phases.sin(), phases.cos()], -1).to(x.dtype).permute(0, 4, 1, 2, 3)


class UnitQueriesAndKeys(nn.Linear):
    """Projection to queries, keys and values, of which each head's queries and keys are brought to length 1."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 3 * channels, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        pairs, values = super().forward(tokens).split([2 * self.in_features, self.in_features], -1)
        units = F.normalize(pairs.unflatten(-1, (-1, _HEAD)), dim=-1, eps=1e-5)
        return torch.cat([units.flatten(-2), values], -1)
