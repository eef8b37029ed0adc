"""Allegro's autoencoder: an image autoencoder with layers along time between its blocks, not causal.

Group norms of those layers see the whole clip, and the copies of its first and last frame that pad it; norms and
attention of the image's blocks see one frame. The whole clip is the definition here. Published code runs tiles of
24x320x320 only, each normalised by itself, and blends them: both agree on a clip that is one tile. Architecture: Rhymes
AI, arXiv:2410.15458.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.image_kl.model import double, frame_attention, frame_block, frame_conv
from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.autoencoders.tiles import Blocks
from vidlatent.autoencoders.upstream import Upstream
from vidlatent.errors import ModelError
from vidlatent.nn import Chain, Conv3d, DepthToSpace, Fit, GroupNorm, Nearest, Residual, named
from vidlatent.nn.edges import Every, Pad
from vidlatent.streaming import Sweepable, T, Window

_TEMPORAL_EPS = 1e-5


@dataclass(frozen=True)
class AllegroConfig:
    """Widths and depths; the defaults are the published model.

    Level `i` works at `widths[i]` channels; between two levels space is halved. `downsample` and `upsample` say behind
    which level, in the order they run, time changes by two. Raises `ModelError` where the fields contradict each other.
    """

    widths: tuple[int, ...] = (128, 256, 512, 512)
    downsample: tuple[bool, ...] = (True, True, False, False)
    upsample: tuple[bool, ...] = (False, True, True, False)
    num_res_blocks: int = 2
    latent_channels: int = 4
    groups: int = 32
    scaling_factor: float = 0.13

    def __post_init__(self) -> None:
        if not len(self.widths) == len(self.downsample) == len(self.upsample):
            raise ModelError(f"widths, downsample and upsample need an entry for each level, got {self}")
        if sum(self.downsample) != sum(self.upsample):
            raise ModelError(f"downsample {self.downsample} and upsample {self.upsample} must have as many steps")
        odd = [width for width in self.widths if width < 1 or width % self.groups]
        if odd:
            raise ModelError(f"widths {odd} do not divide into {self.groups} groups: change widths or groups")
        if not self.scaling_factor:
            raise ModelError("scaling_factor must not be 0")

    @property
    def stride(self) -> tuple[int, int, int]:
        """Video size per latent along (T, H, W)."""
        space = 2 ** (len(self.widths) - 1)
        return 2 ** sum(self.downsample), space, space


def build(config: AllegroConfig) -> Trees:
    """Both trees, with random weights."""
    channels = config.latent_channels
    spec = LatentSpec(channels, config.stride, "grouped", (0.0,) * channels, (1 / config.scaling_factor,) * channels)
    return Trees(
        _encoder(config), _decoder(config), spec, has_logvar=True, upstream=Upstream(_blocks_of(config.stride))
    )


def _blocks_of(stride: tuple[int, int, int]) -> Blocks:
    """24x320x320 that share 8 frames, 120 rows and 80 columns."""
    t, h, w = stride
    return Blocks((24 // t, 320 // h, 320 // w), (16 // t, 200 // h, 240 // w))


def _encoder(config: AllegroConfig) -> Chain:
    widths, groups, moments = config.widths, config.groups, 2 * config.latent_channels
    levels = []
    for index, (before, width) in enumerate(pairwise((widths[0], *widths))):
        time = _time_block(width, groups, "down") if config.downsample[index] else Chain()
        space = frame_conv(width, width, Window(3, 2, 0, 1)) if index < len(widths) - 1 else Chain()
        blocks = _blocks(before, width, groups, config.num_res_blocks)
        levels.append(named(blocks=blocks, time=time, space=space))
    return named(
        fit=Fit(config.stride, single_first=False),
        conv_in=frame_conv(3, widths[0]),
        time_in=Residual(_time_conv(widths[0])),
        levels=Chain(*levels),
        middle=_middle(widths[-1], groups),
        norm_out=GroupNorm(groups, widths[-1], over="frame", silu=True),
        time_out=Residual(_time_conv(widths[-1])),
        conv_out=frame_conv(widths[-1], moments),
        quant_conv=Conv3d(moments, moments),
    )


def _decoder(config: AllegroConfig) -> Chain:
    widths, groups, channels = config.widths[::-1], config.groups, config.latent_channels
    levels = []
    for index, (before, width) in enumerate(pairwise((widths[0], *widths))):
        time = _time_block(width, groups, "up") if config.upsample[index] else Chain()
        space = double(width) if index < len(widths) - 1 else Chain()
        blocks = _blocks(before, width, groups, config.num_res_blocks + 1)
        levels.append(named(blocks=blocks, time=time, space=space))
    return named(
        post_quant_conv=Conv3d(channels, channels),
        conv_in=frame_conv(channels, widths[0]),
        time_in=Residual(_time_conv(widths[0])),
        middle=_middle(widths[0], groups),
        levels=Chain(*levels),
        norm_out=GroupNorm(groups, widths[-1], over="frame", silu=True),
        time_out=Residual(_time_conv(widths[-1])),
        conv_out=frame_conv(widths[-1], 3),
    )


def _blocks(before: int, width: int, groups: int, depth: int) -> Chain:
    """Blocks of the frame, each followed by one along time."""
    return Chain(*(_block(before if i == 0 else width, width, groups) for i in range(depth)))


def _block(before: int, width: int, groups: int) -> Chain:
    return named(frame=frame_block(before, width, groups), time=_time_block(width, groups))


def _middle(width: int, groups: int) -> Chain:
    return Chain(_block(width, width, groups), frame_attention(width, groups), _block(width, width, groups))


def _time_block(width: int, groups: int, step: Literal["down", "up"] | None = None) -> Residual:
    """Four convolutions along time behind group norms of the clip; where its rate changes they are 3x3 in space too."""
    space = Window.centred(3) if step else Window()
    shortcut: Sweepable
    if step == "down":
        first, shortcut = named(layer=_layer(width, width, groups, Window(2, 2), space)), Every(T, 2)
    elif step == "up":
        pairs = _layer(width, 2 * width, groups, Window(), space)
        first, shortcut = named(layer=pairs, unfold=DepthToSpace((2, 1, 1))), Nearest((2, 1, 1))
    else:
        first, shortcut = _padded(width, groups, space), Chain()
    return Residual(Chain(first, *(_padded(width, groups, space) for _ in range(3))), shortcut)


def _padded(width: int, groups: int, space: Window) -> Chain:
    return named(ends=Pad(T, 1, 1, "replicate"), layer=_layer(width, width, groups, Window(3), space))


def _layer(width: int, dim_out: int, groups: int, time: Window, space: Window) -> Chain:
    norm = GroupNorm(groups, width, over="clip", silu=True, eps=_TEMPORAL_EPS)
    return named(norm=norm, conv=Conv3d(width, dim_out, t=time, h=space, w=space))


def _time_conv(width: int) -> Conv3d:
    return Conv3d(width, width, t=Window.centred(3))
