"""KVAE 1.0's video autoencoder (Kandinsky Lab): causal convolutions, group norms over time and space.

A clip is normalised as a whole here. Upstream takes 17 frames and then 16 at a time, 5 latents and then 4, and
normalises each such chunk by itself: up to one chunk both agree. A last chunk of one latent alone keeps its frame rate
upstream, and loses frames; here it does not. Upstream leaves the log-variances unused that its encoder makes, so the
posterior is the mean.

The decoder's norms are scaled and shifted by the latents at each position. These travel along as the last channels,
and are enlarged with the activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.image_kl.model import residual_block
from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.autoencoders.upstream import Chunks, Upstream
from vidlatent.errors import ModelError
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

_GROUPS = 32
_PAST = Window.causal(3, mode="replicate")
_MIDDLE_BLOCKS = 2
_CHUNK_FRAMES = 16


@dataclass(frozen=True)
class KVAEConfig:
    """Widths and depths; the defaults are the published model.

    Level `i` works at `base * multipliers[i]` channels; between two levels space is halved, and time between the
    encoder's and the decoder's first ones, until it is divided by `time_stride`. Raises `ModelError` where the fields
    contradict each other.
    """

    base: int = 128
    multipliers: tuple[int, ...] = (1, 2, 4, 8)
    num_res_blocks: int = 2
    latent_channels: int = 16
    time_stride: int = 4

    def __post_init__(self) -> None:
        if not self.multipliers or min(self.base, *self.multipliers, self.num_res_blocks, self.latent_channels) < 1:
            raise ModelError(f"base, multipliers, num_res_blocks and latent_channels must be at least 1, got {self}")
        if self.base % _GROUPS:
            raise ModelError(f"base is {self.base}, norms need a multiple of {_GROUPS}")
        allowed = [2**count for count in range(len(self.multipliers))]
        if self.time_stride not in allowed:
            raise ModelError(f"time_stride is {self.time_stride}, {len(self.multipliers)} levels allow {allowed}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, the finest first."""
        return tuple(self.base * multiplier for multiplier in self.multipliers)

    @property
    def num_time_steps(self) -> int:
        """How many steps between levels halve time."""
        return self.time_stride.bit_length() - 1

    @property
    def spec(self) -> LatentSpec:
        """The latent grid."""
        space = 2 ** (len(self.multipliers) - 1)
        return LatentSpec(self.latent_channels, (self.time_stride, space, space), "single")


def build(config: KVAEConfig) -> Trees:
    """Both trees, with random weights."""
    chunks = Chunks(_CHUNK_FRAMES // config.time_stride)
    upstream = Upstream(chunks, without_tiles="diffusers' enable_tiling() does nothing there")
    return Trees(_encoder(config), _decoder(config), config.spec, has_logvar=False, upstream=upstream)


def _encoder(config: KVAEConfig) -> Chain:
    widths, wide, last = config.widths, config.widths[-1], len(config.widths) - 1
    levels = []
    for index, (before, width) in enumerate(pairwise((widths[0], *widths))):
        blocks = Chain(*(_block(before if i == 0 else width, width) for i in range(config.num_res_blocks)))
        step = _halve(width, in_time=index < config.num_time_steps) if index < last else Chain()
        levels.append(named(blocks=blocks, step=step))
    return named(
        fit=Fit(config.spec.stride, single_first=True),
        conv_in=_conv(3, widths[0]),
        levels=Chain(*levels),
        middle=Chain(*(_block(wide, wide) for _ in range(_MIDDLE_BLOCKS))),
        norm_out=GroupNorm(_GROUPS, wide, silu=True),
        conv_out=_conv(wide, 2 * config.latent_channels),
        mean=_take(config.latent_channels),
    )


def _decoder(config: KVAEConfig) -> Chain:
    widths, z, last = config.widths[::-1], config.latent_channels, len(config.widths) - 1
    levels = []
    for index, (before, width) in enumerate(pairwise((widths[0], *widths))):
        count = config.num_res_blocks + 1
        blocks = Chain(*(_conditioned_block(before if i == 0 else width, width, z) for i in range(count)))
        step = _double(width, z, in_time=index < config.num_time_steps) if index < last else Chain()
        levels.append(named(blocks=blocks, step=step))
    return named(
        conv_in=Concat(_conv(z, widths[0]), Chain()),
        middle=Chain(*(_conditioned_block(widths[0], widths[0], z) for _ in range(_MIDDLE_BLOCKS))),
        levels=Chain(*levels),
        norm_out=SpatialNorm(_GROUPS, widths[-1], z),
        take=_take(widths[-1]),
        conv_out=_conv(widths[-1], 3),
    )


def _block(before: int, width: int) -> Residual:
    return residual_block(before, width, partial(GroupNorm, _GROUPS, silu=True), _conv)


def _conditioned_block(before: int, width: int, z: int) -> Concat:
    """A block on the activations, with the latents beside it."""
    body = named(
        norm1=SpatialNorm(_GROUPS, before, z),
        conv1=_beside(_conv(before, width), before, z),
        norm2=SpatialNorm(_GROUPS, width, z),
        take=_take(width),
        conv2=_conv(width, width),
    )
    shortcut = named(take=_take(before), mix=Conv3d(before, width) if before != width else Chain())
    return Concat(Residual(body, shortcut), _take(z, before))


def _beside(module: Sweepable, width: int, z: int) -> Concat:
    """`module` on the activations, the latents as they are."""
    return Concat(Chain(_take(width), module), _take(z, width))


def _take(count: int, start: int = 0) -> TakeChannels:
    return TakeChannels(range(start, start + count))


def _halve(width: int, *, in_time: bool) -> Chain:
    """Halve by strided convolutions beside means, space and then time; the first frame's mean is with a copy."""
    edge, past = Window(3, 2, 1, 1, "reflect"), Window(3, 2, 2, 0, "replicate")
    space = Residual(Conv3d(width, width, h=edge, w=edge), Chain(SpaceToDepth((1, 2, 2)), GroupMean(4)))
    time = Residual(Conv3d(width, width, t=past), Chain(SpaceToDepth((2, 1, 1), before=1), GroupMean(2)))
    return named(space=space, time=time if in_time else Chain(), mix=Conv3d(width, width))


def _double(width: int, z: int, *, in_time: bool) -> Chain:
    """Double by repetition, a convolution beside it: time but for the first frame, then space; the latents alike."""
    time = [*_frames(), Residual(Conv3d(width, width, t=_PAST))] if in_time else []
    space = [Chain(), Residual(DoubledConv3d(width, width, mode="reflect"), Nearest((1, 2, 2)))]
    latents = Chain(_take(z, width), *(_frames() if in_time else []), Nearest((1, 2, 2)))
    return Chain(Concat(Chain(_take(width), Chain(*time), Chain(*space), Conv3d(width, width)), latents))


def _frames() -> list[Sweepable]:
    return [Nearest((2, 1, 1)), Trim(T, before=1)]


def _conv(width_in: int, width: int) -> Conv3d:
    edges = Window.centred(3, mode="replicate")
    return Conv3d(width_in, width, t=_PAST, h=edges, w=edges)
