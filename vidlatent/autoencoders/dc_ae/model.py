"""DC-AE (Chen et al., arXiv:2410.10733): residual autoencoding, with linear attention on the coarse levels.

Every step between two grids has a shortcut that moves pixels to channels, or back, without weights. Version 1.5
(arXiv:2508.00413) has no attention, and no shortcuts into and out of the latents. Images only: a clip is encoded and
decoded frame by frame, with nothing remembered along T. The bottleneck is deterministic.
"""

from __future__ import annotations

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.dc_ae.config import Activation, Block, DCAEConfig, Norm
from vidlatent.autoencoders.tiles import Tiles
from vidlatent.autoencoders.upstream import Upstream
from vidlatent.errors import ModelError
from vidlatent.nn import Chain, Concat, Conv3d, DepthToSpace, DoubledConv3d, Fit, Residual, SiLU, SpaceToDepth, named
from vidlatent.nn.activations import ReLU
from vidlatent.nn.affine_norm import AffinePixelNorm, BatchNorm
from vidlatent.nn.channels import GroupMean, TakeChannels
from vidlatent.nn.gate import GatedSiLU
from vidlatent.nn.linear_attention import LinearAttention
from vidlatent.streaming import Sweepable, Window

_HALF = (1, 2, 2)
_EXPANSION = 4
"""How much wider the gated convolution behind an attention is."""


def build(config: DCAEConfig) -> Trees:
    """Both trees, with random weights. Raises `ModelError` where widths do not divide as shortcuts need."""
    upstream = Upstream(tiles=Tiles.square(512, 448, config.spec.stride[1]))
    return Trees(_encoder(config), _decoder(config), config.spec, has_logvar=False, upstream=upstream)


def _encoder(config: DCAEConfig) -> Chain:
    widths, depths, last = config.encoder_widths, config.encoder_depths, len(config.encoder_widths) - 1
    levels = []
    for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        kind, scales = config.by_level("encoder_blocks")[index], config.encoder_scales[index]
        blocks = [_block(kind, width, config.head_dim, scales) for _ in range(depth)]
        step = [_halve(width, widths[index + 1], config)] if index < last and depth else []
        levels.append(Chain(*blocks, *step))
    first = _conv(3, widths[0]) if depths[0] else _halving(3, widths[1], config)
    out = _conv(widths[-1], config.latent_channels)
    return named(
        fit=Fit(config.spec.stride, single_first=False),
        conv_in=first,
        levels=Chain(*levels),
        conv_out=Residual(out, _average(widths[-1], config.latent_channels)) if config.encoder_shortcut else out,
    )


def _decoder(config: DCAEConfig) -> Chain:
    widths, depths, last = config.decoder_widths, config.decoder_depths, len(config.decoder_widths) - 1
    norms, activations = config.by_level("decoder_norms"), config.by_level("decoder_activations")
    levels = []
    for index in reversed(range(len(widths))):
        kind, scales = config.by_level("decoder_blocks")[index], config.decoder_scales[index]
        step = [_double(widths[index + 1], widths[index], config)] if index < last and depths[index] else []
        width, look = widths[index], (norms[index], activations[index])
        blocks = [_block(kind, width, config.head_dim, scales, *look) for _ in range(depths[index])]
        levels.append(Chain(*step, *blocks))
    finest = widths[0] if depths[0] else widths[1]
    first = _conv(config.latent_channels, widths[-1])
    return named(
        conv_in=Residual(first, _repeat(config.latent_channels, widths[-1])) if config.decoder_shortcut else first,
        levels=Chain(*levels),
        norm_out=AffinePixelNorm(finest),
        activation=_activation(config.out_activation),
        conv_out=_conv(finest, 3) if depths[0] else _doubling(finest, 3, config),
    )


def _block(
    kind: Block,
    width: int,
    head_dim: int,
    scales: tuple[int, ...],
    norm: Norm = "rms_norm",
    activation: Activation = "silu",
) -> Sweepable:
    if kind == "EfficientViTBlock":
        return Chain(Residual(_attention(width, head_dim, scales, norm)), Residual(_gated_conv(width)))
    return Residual(
        named(
            conv1=_conv(width, width),
            activation=_activation(activation),
            conv2=_conv(width, width, bias=False),
            norm=_norm(norm, width),
        )
    )


def _attention(width: int, head_dim: int, scales: tuple[int, ...], norm: Norm) -> Chain:
    """Linear attention of heads at their own position and at each scale, aggregated by depthwise convolutions."""
    heads = width // head_dim
    inner = heads * head_dim
    aggregated = [
        Chain(
            _conv(3 * inner, 3 * inner, kernel, groups=3 * inner, bias=False),
            Conv3d(3 * inner, 3 * inner, groups=3 * heads, bias=False),
        )
        for kernel in scales
    ]
    return named(
        qkv=Conv3d(width, 3 * inner, bias=False),
        scales=Concat(Chain(), *aggregated) if scales else Chain(),
        attention=LinearAttention(head_dim),
        to_out=Conv3d(inner * (1 + len(scales)), width, bias=False),
        norm_out=_norm(norm, width),
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


def _activation(kind: Activation) -> Sweepable:
    return SiLU() if kind == "silu" else ReLU()


def _norm(kind: Norm, width: int) -> Sweepable:
    return AffinePixelNorm(width) if kind == "rms_norm" else BatchNorm(width)


def _halve(width: int, width_out: int, config: DCAEConfig) -> Residual:
    return Residual(_halving(width, width_out, config), Chain(SpaceToDepth(_HALF), _average(4 * width, width_out)))


def _halving(width: int, width_out: int, config: DCAEConfig) -> Chain:
    """Half the resolution by pixels moved to channels, or by a strided convolution."""
    if config.down == "pixel_unshuffle":
        _check(width_out, 4)
        return named(conv=_conv(width, width_out // 4), fold=SpaceToDepth(_HALF))
    window = Window(3, 2, 1, 1)
    return named(conv=Conv3d(width, width_out, h=window, w=window))


def _double(width: int, width_out: int, config: DCAEConfig) -> Residual:
    return Residual(_doubling(width, width_out, config), Chain(_repeat(width, 4 * width_out), DepthToSpace(_HALF)))


def _doubling(width: int, width_out: int, config: DCAEConfig) -> Chain:
    if config.up == "interpolate":
        return named(conv=DoubledConv3d(width, width_out))
    return named(conv=_conv(width, 4 * width_out), unfold=DepthToSpace(_HALF))


def _average(width: int, width_out: int) -> Chain:
    """Average runs of channels down to `width_out`."""
    _check(width, width_out)
    return Chain(GroupMean(width // width_out)) if width > width_out else Chain()


def _repeat(width: int, width_out: int) -> Chain:
    """Repeat each channel in a row up to `width_out`."""
    _check(width_out, width)
    times = width_out // width
    return Chain(TakeChannels(index // times for index in range(width_out))) if times > 1 else Chain()


def _check(many: int, few: int) -> None:
    if many % few:
        raise ModelError(f"{many} channels do not divide by {few}, as a shortcut needs: change the widths")


def _conv(width: int, width_out: int, kernel: int = 3, *, groups: int = 1, bias: bool = True) -> Conv3d:
    window = Window.centred(kernel)
    return Conv3d(width, width_out, h=window, w=window, groups=groups, bias=bias)
