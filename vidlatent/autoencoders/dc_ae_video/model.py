"""Open-Sora 2's video DC-AE (Peng et al., arXiv:2503.09642), after DC-AE (arXiv:2410.10733): not causal.

Convolutions of space and time with zeros around the clip, linear attention over the whole clip on the coarse levels,
and shortcuts without weights that move blocks to channels, or back. The whole clip is the definition here; upstream
runs tiles of 32 frames and 256 x 256 pixels where a clip is larger, and blends them. A clip of one frame, or one
latent, is an image upstream, whose frames do not change in number: here a latent always holds four frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.autoencoders.tiles import Runs, Tiles
from vidlatent.autoencoders.upstream import Upstream
from vidlatent.errors import ModelError
from vidlatent.nn import (
    Chain,
    Concat,
    Conv3d,
    DepthToSpace,
    DoubledConv3d,
    Fit,
    Nearest,
    Residual,
    SiLU,
    SpaceToDepth,
    named,
)
from vidlatent.nn.activations import ReLU
from vidlatent.nn.affine_norm import AffinePixelNorm
from vidlatent.nn.channels import GroupMean, TakeChannels
from vidlatent.nn.clip_attention import ClipLinearAttention
from vidlatent.nn.gate import GatedSiLU
from vidlatent.nn.resample import Factors
from vidlatent.streaming import Sweepable, Window

_EXPANSION = 4
"""How much wider the gated convolution behind an attention is."""


@dataclass(frozen=True)
class VideoDCAEConfig:
    """Widths and depths by level, finest first; the defaults are the published f32t4c128.

    Between two levels space is halved, and time where `time_steps` says so of the finer. Level `i` has `*_depths[i]`
    blocks, with attention from level `first_attention` on; `scale` is the kernel by which its queries, keys and values
    are aggregated besides. A diffusion model is fed the latents as they are. Raises `ModelError` where the fields
    contradict each other.
    """

    latent_channels: int = 128
    widths: tuple[int, ...] = (128, 256, 512, 512, 1024, 1024)
    encoder_depths: tuple[int, ...] = (2, 2, 2, 3, 3, 3)
    decoder_depths: tuple[int, ...] = (3, 3, 3, 3, 3, 3)
    time_steps: tuple[bool, ...] = (False, False, False, True, True)
    first_attention: int = 3
    head_dim: int = 32
    scale: int = 5

    def __post_init__(self) -> None:
        levels = len(self.widths)
        if {levels} != {len(self.encoder_depths), len(self.decoder_depths), len(self.time_steps) + 1}:
            raise ModelError(f"depths need an entry for each of {levels} widths, time_steps one less; got {self}")
        if min(*self.widths, *self.encoder_depths, *self.decoder_depths, self.latent_channels, self.head_dim) < 1:
            raise ModelError(f"widths, depths, channels and head_dim must be at least 1, got {self}")
        if self.scale % 2 == 0 or self.widths[-1] % self.latent_channels:
            raise ModelError(f"scale must be odd, and the last width a multiple of latent_channels; got {self}")
        for index, (fine, coarse) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            size = math.prod(self.step(index))
            if fine * size % coarse:
                raise ModelError(f"{size} x {fine} channels do not divide by {coarse}, as a shortcut needs")

    def step(self, level: int) -> Factors:
        """How much (T, H, W) change between a level and the next coarser."""
        return (2 if self.time_steps[level] else 1, 2, 2)

    @property
    def spec(self) -> LatentSpec:
        """The latent grid."""
        space = 2 ** (len(self.widths) - 1)
        return LatentSpec(self.latent_channels, (2 ** sum(self.time_steps), space, space), "grouped")


def build(config: VideoDCAEConfig) -> Trees:
    """Both trees, with random weights."""
    time, space, _ = config.spec.stride
    runs = Runs(32 // time, 24 // time, single=False)
    upstream = Upstream(tiles=Tiles.square(256, 192, space), tiled_runs=runs)
    return Trees(_encoder(config), _decoder(config), config.spec, has_logvar=False, upstream=upstream)


def _encoder(config: VideoDCAEConfig) -> Chain:
    widths, last = config.widths, len(config.widths) - 1
    levels = []
    for index, width in enumerate(widths):
        step = [_halve(width, widths[index + 1], config.step(index))] if index < last else []
        levels.append(Chain(*_blocks(index, config.encoder_depths[index], config), *step))
    mean = average(widths[-1], config.latent_channels)
    return named(
        fit=Fit(config.spec.stride, single_first=False),
        conv_in=_conv(3, widths[0]),
        levels=Chain(*levels),
        conv_out=Residual(_conv(widths[-1], config.latent_channels), mean),
    )


def _decoder(config: VideoDCAEConfig) -> Chain:
    widths, last = config.widths, len(config.widths) - 1
    levels = []
    for index in reversed(range(len(widths))):
        step = [_double(widths[index + 1], widths[index], config.step(index))] if index < last else []
        levels.append(Chain(*step, *_blocks(index, config.decoder_depths[index], config)))
    spread = repeat(config.latent_channels, widths[-1])
    return named(
        conv_in=Residual(_conv(config.latent_channels, widths[-1]), spread),
        levels=Chain(*levels),
        norm_out=AffinePixelNorm(widths[0]),
        relu=ReLU(),
        conv_out=_conv(widths[0], 3),
    )


def _blocks(level: int, count: int, config: VideoDCAEConfig) -> list[Sweepable]:
    width = config.widths[level]
    if level < config.first_attention:
        return [_block(width) for _ in range(count)]
    return [Chain(Residual(_attention(width, config)), Residual(_gated_conv(width))) for _ in range(count)]


def _block(width: int) -> Residual:
    return Residual(
        named(
            conv1=_conv(width, width),
            silu=SiLU(),
            conv2=_conv(width, width, bias=False),
            norm=AffinePixelNorm(width),
        )
    )


def _attention(width: int, config: VideoDCAEConfig) -> Chain:
    """Linear attention of heads at their own position and aggregated by a depthwise convolution."""
    heads = width // config.head_dim
    inner = heads * config.head_dim
    aggregated = Chain(
        _conv(3 * inner, 3 * inner, config.scale, groups=3 * inner, bias=False),
        Conv3d(3 * inner, 3 * inner, groups=3 * heads, bias=False),
    )
    return named(
        qkv=Conv3d(width, 3 * inner, bias=False),
        scales=Concat(Chain(), aggregated),
        attention=ClipLinearAttention(config.head_dim),
        to_out=Conv3d(2 * inner, width, bias=False),
        norm_out=AffinePixelNorm(width),
    )


def _gated_conv(width: int) -> Chain:
    hidden = _EXPANSION * width
    return named(
        conv_inverted=Conv3d(width, 2 * hidden),
        silu=SiLU(),
        conv_depth=_conv(2 * hidden, 2 * hidden, groups=2 * hidden),
        gate=GatedSiLU(),
        conv_point=Conv3d(hidden, width, bias=False),
        norm=AffinePixelNorm(width),
    )


def _halve(width: int, out: int, step: Factors) -> Residual:
    t, h, w = (Window.centred(3, each) for each in step)
    shortcut = Chain(SpaceToDepth(step), average(width * math.prod(step), out))
    return Residual(Conv3d(width, out, t=t, h=h, w=w), shortcut)


def _double(width: int, out: int, step: Factors) -> Residual:
    shortcut = Chain(repeat(width, out * math.prod(step)), DepthToSpace(step))
    time = Nearest((step[0], 1, 1)) if step[0] > 1 else Chain()
    return Residual(named(nearest=time, conv=DoubledConv3d(width, out, t=Window.centred(3))), shortcut)


def average(width: int, out: int) -> Chain:
    """Average runs of channels down to `out`."""
    return Chain(GroupMean(width // out)) if width > out else Chain()


def repeat(width: int, out: int) -> Chain:
    """Repeat each channel in a row up to `out`."""
    times = out // width
    return Chain(TakeChannels(index // times for index in range(out))) if times > 1 else Chain()


def _conv(width: int, out: int, kernel: int = 3, *, groups: int = 1, bias: bool = True) -> Conv3d:
    window = Window.centred(kernel)
    return Conv3d(width, out, t=window, h=window, w=window, groups=groups, bias=bias)
