"""HunyuanVideo 1.5's autoencoder (Tencent, arXiv:2511.18870): causal convolutions whose edges are replicated.

Norms see a position by itself, the attention in the middle a frame and all before it. Space and time are packed into
channels, with shortcuts without weights beside, after DC-AE (arXiv:2410.10733). diffusers and the authors run the whole
clip too.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.hunyuan_video_15.shuffle import pack, pack_mean, repeat_unpack, unpack
from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.autoencoders.tiles import Tiles
from vidlatent.autoencoders.upstream import Upstream
from vidlatent.errors import ModelError
from vidlatent.nn import CausalFrameAttention, Chain, Conv3d, Fit, Residual, RMSNorm, named
from vidlatent.nn.channels import GroupMean, TakeChannels
from vidlatent.streaming import Sweepable, Window

_PAST, _EDGES = Window.causal(3, mode="replicate"), Window.centred(3, mode="replicate")


@dataclass(frozen=True)
class HunyuanVideo15Config:
    """Widths and depths; the defaults are the published model.

    Level `i` works at `widths[i]` channels. Steps between the first levels halve space, until it is divided by
    `space_stride`; the last of these halve time as well, until it is divided by `time_stride`. A step already changes
    to the next level's width where `down_matches` and `up_matches` say so, else its first block does. A diffusion model
    is fed `latents * scaling_factor`. Raises `ModelError` where the fields contradict each other.
    """

    widths: tuple[int, ...] = (128, 256, 512, 1024, 1024)
    num_res_blocks: int = 2
    latent_channels: int = 32
    space_stride: int = 16
    time_stride: int = 4
    down_matches: bool = True
    up_matches: bool = True
    scaling_factor: float = 1.03682

    def __post_init__(self) -> None:
        if not self.widths or min(*self.widths, self.num_res_blocks, self.latent_channels) < 1:
            raise ModelError(f"widths, num_res_blocks and latent_channels must be at least 1, got {self}")
        allowed = [2**count for count in range(len(self.widths))]
        if self.space_stride not in allowed:
            raise ModelError(f"space_stride is {self.space_stride}, {len(self.widths)} levels allow {allowed}")
        if self.time_stride not in [stride for stride in allowed if stride <= self.space_stride]:
            raise ModelError(f"time_stride is {self.time_stride}: choose a power of two up to {self.space_stride}")
        if self.widths[-1] % (2 * self.latent_channels):
            raise ModelError(f"widths end with {self.widths[-1]}, no multiple of 2 x {self.latent_channels} channels")
        if any(width % 8 for width in self.widths) or any(4 * a % b or 4 * b % a for a, b in pairwise(self.widths)):
            raise ModelError(f"widths must be multiples of 8, with ratios of 1, 2, 4 between levels, got {self.widths}")
        if not self.scaling_factor:
            raise ModelError("scaling_factor must not be 0")

    @property
    def spec(self) -> LatentSpec:
        """The latent grid."""
        stride = (self.time_stride, self.space_stride, self.space_stride)
        return LatentSpec(self.latent_channels, stride, "single", (), (1 / self.scaling_factor,) * self.latent_channels)

    @property
    def num_steps(self) -> tuple[int, int]:
        """How many steps between levels halve time, and space."""
        return self.time_stride.bit_length() - 1, self.space_stride.bit_length() - 1


def build(config: HunyuanVideo15Config) -> Trees:
    """Both trees, with random weights."""
    upstream = Upstream(tiles=Tiles.square(256, 192, config.spec.stride[1]))
    return Trees(_encoder(config), _decoder(config), config.spec, has_logvar=True, upstream=upstream)


def _encoder(config: HunyuanVideo15Config) -> Chain:
    widths, moments = config.widths, 2 * config.latent_channels
    times, spaces = config.num_steps
    levels, here = [], widths[0]
    for index, width in enumerate(widths):
        step: Sweepable = Chain()
        blocks, here = _blocks(here, width, config.num_res_blocks), width
        if index < spaces:
            here = widths[index + 1] if config.down_matches else width
            step = _down(width, here, in_time=index >= spaces - times)
        levels.append(named(blocks=blocks, step=step))
    out = Chain(RMSNorm(here, silu=True), _conv(here, moments))
    return named(
        fit=Fit(config.spec.stride, single_first=True),
        conv_in=_conv(3, widths[0]),
        levels=Chain(*levels),
        middle=_middle(here),
        out=Residual(out, GroupMean(here // moments)),
    )


def _decoder(config: HunyuanVideo15Config) -> Chain:
    widths, channels = config.widths[::-1], config.latent_channels
    times, spaces = config.num_steps
    levels, here = [], widths[0]
    for index, width in enumerate(widths):
        step: Sweepable = Chain()
        blocks, here = _blocks(here, width, config.num_res_blocks + 1), width
        if index < spaces:
            here = widths[index + 1] if config.up_matches else width
            step = _up(width, here, in_time=index < times)
        levels.append(named(blocks=blocks, step=step))
    spread = TakeChannels(channel * channels // widths[0] for channel in range(widths[0]))
    return named(
        conv_in=Residual(_conv(channels, widths[0]), spread),
        middle=_middle(widths[0]),
        levels=Chain(*levels),
        norm_out=RMSNorm(here, silu=True),
        conv_out=_conv(here, 3),
    )


def _blocks(width_in: int, width: int, count: int) -> Chain:
    return Chain(*(_block(width_in if i == 0 else width, width) for i in range(count)))


def _block(width_in: int, width: int) -> Residual:
    norms = RMSNorm(width_in, silu=True), RMSNorm(width, silu=True)
    body = Chain(norms[0], _conv(width_in, width), norms[1], _conv(width, width))
    return Residual(body, Conv3d(width_in, width) if width_in != width else None)


def _middle(width: int) -> Chain:
    attention = Residual(Chain(RMSNorm(width), CausalFrameAttention(width)))
    return Chain(_block(width, width), attention, _block(width, width))


def _down(width: int, out: int, *, in_time: bool) -> Residual:
    """Halve by packing a convolution's channels, beside means of the packed input."""
    packed = out // (8 if in_time else 4)
    conv = named(conv=_conv(width, packed), pack=pack(packed, in_time=in_time))
    return Residual(conv, pack_mean(width, out, in_time=in_time))


def _up(width: int, out: int, *, in_time: bool) -> Residual:
    """Double by unpacking a convolution's channels, beside the unpacked input."""
    packed = out * (8 if in_time else 4)
    conv = named(conv=_conv(width, packed), unpack=unpack(packed, out, in_time=in_time))
    return Residual(conv, unpack(width, out, in_time=True) if in_time else repeat_unpack(width, out))


def _conv(width_in: int, width: int) -> Conv3d:
    return Conv3d(width_in, width, t=_PAST, h=_EDGES, w=_EDGES)
