"""EasyAnimate's autoencoder (Xu et al., arXiv:2405.18991), after MAGVIT-v2: causal convolutions, no attention.

Norms see one frame whole; in front of the clip stand copies of its first frame. Upstream runs the first frame and then
four by four, remembering what its convolutions need, which this whole-clip form equals.

Tiles fit together when encoding as they do when decoding; diffusers crops those of its encoder to the whole frame, and
misplaces all but the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.image_kl.model import residual_block
from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.autoencoders.tiles import Tiles
from vidlatent.autoencoders.upstream import Upstream
from vidlatent.errors import ModelError
from vidlatent.nn import Chain, Conv3d, DoubledConv3d, Fit, GroupNorm, Nearest, Residual, Trim, named
from vidlatent.streaming import T, Window


@dataclass(frozen=True)
class MagvitConfig:
    """Widths and depths; the defaults are EasyAnimate 5 and 5.1.

    Level `i` works at `widths[i]` channels. Between two levels space is halved, and time too but behind the first of
    the encoder's and of the decoder's. A diffusion model is fed `latents * scaling_factor`. Raises `ModelError` where
    the fields contradict each other.
    """

    widths: tuple[int, ...] = (128, 256, 512, 512)
    num_res_blocks: int = 2
    latent_channels: int = 16
    groups: int = 32
    scaling_factor: float = 0.7125

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(*self.widths, self.num_res_blocks, self.latent_channels, self.groups) < 1:
            raise ModelError(f"widths needs 2 entries or more, and all numbers must be at least 1, got {self}")
        odd = [width for width in self.widths if width % self.groups]
        if odd:
            raise ModelError(f"widths {odd} do not divide into {self.groups} groups: change widths or groups")
        if not self.scaling_factor:
            raise ModelError("scaling_factor must not be 0")

    @property
    def spec(self) -> LatentSpec:
        """The latent grid."""
        space, std = 2 ** (len(self.widths) - 1), (1 / self.scaling_factor,) * self.latent_channels
        return LatentSpec(self.latent_channels, (space // 2, space, space), "single", (), std)


def build(config: MagvitConfig) -> Trees:
    """Both trees, with random weights."""
    upstream = Upstream(tiles=Tiles.square(512, 448, config.spec.stride[1]))
    return Trees(_encoder(config), _decoder(config), config.spec, has_logvar=True, upstream=upstream)


def _encoder(config: MagvitConfig) -> Chain:
    widths, moments = config.widths, 2 * config.latent_channels
    last = len(widths) - 1
    levels = [
        named(
            blocks=_blocks(pair, config.num_res_blocks, config.groups),
            step=_down(pair[1], in_time=index > 0) if index < last else Chain(),
        )
        for index, pair in enumerate(pairwise((widths[0], *widths)))
    ]
    return named(
        fit=Fit(config.spec.stride, single_first=True),
        conv_in=_conv(3, widths[0]),
        levels=Chain(*levels),
        middle=_blocks((widths[-1], widths[-1]), config.num_res_blocks, config.groups),
        norm_out=_norm(config.groups, widths[-1], silu=True),
        conv_out=_conv(widths[-1], moments),
        quant_conv=Conv3d(moments, moments),
    )


def _decoder(config: MagvitConfig) -> Chain:
    widths, channels = config.widths[::-1], config.latent_channels
    last = len(widths) - 1
    levels = [
        named(
            blocks=_blocks(pair, config.num_res_blocks + 1, config.groups),
            step=_up(pair[1], in_time=index > 0) if index < last else Chain(),
        )
        for index, pair in enumerate(pairwise((widths[0], *widths)))
    ]
    return named(
        post_quant_conv=Conv3d(channels, channels),
        conv_in=_conv(channels, widths[0]),
        middle=_blocks((widths[0], widths[0]), config.num_res_blocks, config.groups),
        levels=Chain(*levels),
        norm_out=_norm(config.groups, widths[-1], silu=True),
        conv_out=_conv(widths[-1], 3),
    )


def _blocks(widths: tuple[int, int], count: int, groups: int) -> Chain:
    return Chain(*(_block(widths[0] if i == 0 else widths[1], widths[1], groups) for i in range(count)))


def _block(width_in: int, width: int, groups: int) -> Residual:
    return residual_block(width_in, width, partial(_norm, groups, silu=True), _conv)


def _down(width: int, *, in_time: bool) -> Chain:
    """Halve by a strided convolution."""
    past, edge = Window.causal(3, 2 if in_time else 1, mode="replicate"), Window(3, 2, 0, 1)
    return named(conv=Conv3d(width, width, t=past, h=edge, w=edge))


def _up(width: int, *, in_time: bool) -> Chain:
    """Double by repetition, space before a convolution and time, but for the first frame, behind it."""
    time = Chain(Nearest((2, 1, 1)), Trim(T, before=1)) if in_time else Chain()
    return named(conv=DoubledConv3d(width, width, t=Window.causal(3, mode="replicate")), time=time)


def _norm(groups: int, width: int, *, silu: bool = False) -> GroupNorm:
    return GroupNorm(groups, width, over="frame", silu=silu)


def _conv(width_in: int, width: int) -> Conv3d:
    past, edges = Window.causal(3, mode="replicate"), Window.centred(3)
    return Conv3d(width_in, width, t=past, h=edges, w=edges)
