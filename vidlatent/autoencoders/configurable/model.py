"""A video autoencoder from parts: what a training run is given when it does not start from a published family."""

from __future__ import annotations

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.configurable.blocks import block, norm_silu, output_norm, see
from vidlatent.autoencoders.configurable.config import ConfigurableConfig
from vidlatent.autoencoders.configurable.steps import down, up
from vidlatent.nn import Chain, Concat, Conv3d, DepthToSpace, Fit, Haar, InverseHaar, SpaceToDepth, Trim, named
from vidlatent.quantize import build as build_bottleneck
from vidlatent.streaming import Sweepable, T


def build(config: ConfigurableConfig) -> Trees:
    """Both trees, with random weights."""
    bottleneck = build_bottleneck(config.bottleneck, width=config.encoder_widths[-1])
    spec, kind = config.spec, config.bottleneck.kind
    encoder = named(
        fit=Fit(spec.stride, single_first=config.first_frame == "single"),
        **_encoder_body(config, bottleneck.in_channels),
        bottleneck=bottleneck,
    )
    decoder = named(opening=bottleneck.opening(), **_decoder_body(config, bottleneck.out_channels))
    return Trees(encoder, decoder, spec, has_logvar=kind == "kl")


def _encoder_body(config: ConfigurableConfig, channels: int) -> dict[str, Sweepable]:
    widths, last = config.encoder_widths, len(config.encoder_widths) - 1
    levels = []
    for index, width in enumerate(widths):
        blocks = [block(config, width, config.attention[index]) for _ in range(config.encoder_blocks[index])]
        step = [down(config, width, widths[index + 1], config.steps[index])] if index < last else []
        levels.append(Chain(*blocks, *step))
    return {
        "patch": _patch(config),
        "conv_in": Conv3d(3 * _folded(config), widths[0], **see(config)),
        "levels": Chain(*levels),
        "norm_out": norm_silu(config, widths[-1]),
        "conv_out": Conv3d(widths[-1], channels),
    }


def _decoder_body(config: ConfigurableConfig, channels: int) -> dict[str, Sweepable]:
    """Where norms are conditioned, the bottleneck's output travels along as the last channels."""
    widths, last = config.decoder_widths, len(config.decoder_widths) - 1
    beside = channels if config.conditioned else 0
    conv_in: Sweepable = Conv3d(channels, widths[-1], **see(config))
    levels = []
    for index in reversed(range(len(widths))):
        width, kind = widths[index], config.attention[index]
        step = [up(config, widths[index + 1], width, config.steps[index], beside)] if index < last else []
        blocks = [block(config, width, kind, beside) for _ in range(config.decoder_blocks[index])]
        levels.append(Chain(*step, *blocks))
    return {
        "conv_in": Concat(conv_in, Chain()) if beside else conv_in,
        "levels": Chain(*levels),
        "norm_out": output_norm(config, widths[0], beside),
        "conv_out": Conv3d(widths[0], 3 * _folded(config), **see(config)),
        "unpatch": _unpatch(config),
    }


def _folded(config: ConfigurableConfig) -> int:
    t, h, w = config.patch_factors
    return 1 if config.patch == "none" else t * h * w


def _patch(config: ConfigurableConfig) -> Sweepable:
    if config.patch == "none":
        return Chain()
    before = config.patch_factors[0] - 1 if config.first_frame == "single" else 0
    kind = Haar if config.patch == "haar" else SpaceToDepth
    return kind(config.patch_factors, before=before)


def _unpatch(config: ConfigurableConfig) -> Sweepable:
    if config.patch == "none":
        return Chain()
    kind = InverseHaar if config.patch == "haar" else DepthToSpace
    extra = config.patch_factors[0] - 1 if config.first_frame == "single" else 0
    return Chain(kind(config.patch_factors), *([Trim(T, before=extra)] if extra else []))
