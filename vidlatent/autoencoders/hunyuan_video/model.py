"""HunyuanVideo's autoencoder (Kong et al., arXiv:2412.03603): causal convolutions whose edges are replicated.

Group norms see the whole clip, the attention in the middle a frame and all before it. The whole clip is the definition
here. diffusers cuts longer clips into overlapping runs of 17 frames, each normalised by itself, and blends them, unless
`use_framewise_encoding` and `use_framewise_decoding` are off: up to 17 frames and 4 latents both agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.image_kl.model import residual_block
from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.autoencoders.tiles import Runs, Tiles
from vidlatent.autoencoders.upstream import Upstream
from vidlatent.errors import ModelError
from vidlatent.nn import (
    CausalFrameAttention,
    Chain,
    Conv3d,
    DoubledConv3d,
    Fit,
    GroupNorm,
    Nearest,
    Residual,
    Trim,
    named,
)
from vidlatent.nn.resample import Factors
from vidlatent.streaming import T, Window

_TIME_STEPS = 2


@dataclass(frozen=True)
class HunyuanVideoConfig:
    """Widths and depths; the defaults are the published model.

    Level `i` works at `widths[i]` channels. Behind the first levels, in the order they run, space is halved or doubled
    until it is divided by `space_stride`; behind the last two steps between levels time is. A diffusion model is fed
    `latents * scaling_factor`. Raises `ModelError` where the fields contradict each other.
    """

    widths: tuple[int, ...] = (128, 256, 512, 512)
    num_res_blocks: int = 2
    latent_channels: int = 16
    groups: int = 32
    space_stride: int = 8
    scaling_factor: float = 0.476986
    middle_attention: bool = True

    def __post_init__(self) -> None:
        if len(self.widths) <= _TIME_STEPS or min(*self.widths, self.num_res_blocks, self.latent_channels) < 1:
            raise ModelError(f"widths needs 3 entries or more, and all numbers must be at least 1, got {self}")
        odd = [width for width in self.widths if width % self.groups]
        if odd:
            raise ModelError(f"widths {odd} do not divide into {self.groups} groups: change widths or groups")
        allowed = [2**count for count in range(len(self.widths) + 1)]
        if self.space_stride not in allowed:
            raise ModelError(f"space_stride is {self.space_stride}, {len(self.widths)} levels allow {allowed}")
        if not self.scaling_factor:
            raise ModelError("scaling_factor must not be 0")

    @property
    def spec(self) -> LatentSpec:
        """The latent grid."""
        stride = (2**_TIME_STEPS, self.space_stride, self.space_stride)
        return LatentSpec(self.latent_channels, stride, "single", (), (1 / self.scaling_factor,) * self.latent_channels)

    def step(self, level: int) -> Factors:
        """How much (T, H, W) change behind a level, counted in the order that the levels run."""
        between = len(self.widths) - 1
        time = 2 if between - _TIME_STEPS <= level < between else 1
        space = 2 if 2**level < self.space_stride else 1
        return time, space, space


def build(config: HunyuanVideoConfig) -> Trees:
    """Both trees, with random weights."""
    upstream = Upstream(Runs(4, 3), Tiles.square(256, 192, config.space_stride))
    return Trees(_encoder(config), _decoder(config), config.spec, has_logvar=True, upstream=upstream)


def _encoder(config: HunyuanVideoConfig) -> Chain:
    widths, moments = config.widths, 2 * config.latent_channels
    levels = [
        named(blocks=_blocks(pair, config.num_res_blocks, config.groups), step=_down(pair[1], config.step(index)))
        for index, pair in enumerate(pairwise((widths[0], *widths)))
    ]
    return named(
        fit=Fit(config.spec.stride, single_first=True),
        conv_in=_conv(3, widths[0]),
        levels=Chain(*levels),
        middle=_middle(widths[-1], config),
        norm_out=GroupNorm(config.groups, widths[-1], silu=True),
        conv_out=_conv(widths[-1], moments),
        quant_conv=Conv3d(moments, moments),
    )


def _decoder(config: HunyuanVideoConfig) -> Chain:
    widths, channels = config.widths[::-1], config.latent_channels
    levels = [
        named(blocks=_blocks(pair, config.num_res_blocks + 1, config.groups), step=_up(pair[1], config.step(index)))
        for index, pair in enumerate(pairwise((widths[0], *widths)))
    ]
    return named(
        post_quant_conv=Conv3d(channels, channels),
        conv_in=_conv(channels, widths[0]),
        middle=_middle(widths[0], config),
        levels=Chain(*levels),
        norm_out=GroupNorm(config.groups, widths[-1], silu=True),
        conv_out=_conv(widths[-1], 3),
    )


def _blocks(widths: tuple[int, int], count: int, groups: int) -> Chain:
    return Chain(*(_block(widths[0] if i == 0 else widths[1], widths[1], groups) for i in range(count)))


def _block(width_in: int, width: int, groups: int) -> Residual:
    return residual_block(width_in, width, partial(GroupNorm, groups, silu=True), _conv)


def _middle(width: int, config: HunyuanVideoConfig) -> Chain:
    attention = Residual(Chain(GroupNorm(config.groups, width), CausalFrameAttention(width)))
    first, second = (_block(width, width, config.groups) for _ in range(2))
    return Chain(first, attention if config.middle_attention else Chain(), second)


def _down(width: int, step: Factors) -> Chain:
    """Shrink by a strided convolution."""
    return Chain(_conv(width, width, step)) if max(step) > 1 else Chain()


def _up(width: int, step: Factors) -> Chain:
    """Enlarge by repetition, the first frame stays single; then a convolution."""
    t, *space = step
    time = Chain(Nearest((t, 1, 1)), Trim(T, before=1)) if t > 1 else Chain()
    if max(space) > 1:
        past = Window.causal(3, mode="replicate")
        return named(repeat=time, conv=DoubledConv3d(width, width, t=past, mode="replicate"))
    return named(repeat=time, conv=_conv(width, width)) if t > 1 else Chain()


def _conv(width_in: int, width: int, stride: Factors = (1, 1, 1)) -> Conv3d:
    past = Window.causal(3, stride[0], mode="replicate")
    h, w = (Window.centred(3, each, mode="replicate") for each in stride[1:])
    return Conv3d(width_in, width, t=past, h=h, w=w)
