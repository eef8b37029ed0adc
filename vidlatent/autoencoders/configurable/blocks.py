"""Blocks at one resolution: norms, convolutions and attention as the configuration says."""

from __future__ import annotations

from typing import Literal, TypedDict

from vidlatent.autoencoders.configurable.config import Attention, ConfigurableConfig
from vidlatent.nn import Chain, Concat, Conv3d, FrameAttention, GroupNorm, LayerNorm, Residual, RMSNorm, SiLU
from vidlatent.nn.channels import TakeChannels
from vidlatent.nn.linear_attention import LinearAttention
from vidlatent.nn.spatial_norm import SpatialNorm
from vidlatent.streaming import Sweepable, Window

_EDGES = Window.centred(3)


class Windows(TypedDict):
    """What a convolution sees along each axis."""

    t: Window
    h: Window
    w: Window


def see(config: ConfigurableConfig) -> Windows:
    """The 3x3x3 window of whole convolutions, or 3x3 where blocks see a frame at a time."""
    return {"t": Window() if config.kernel == "space" else past(config), "h": _EDGES, "w": _EDGES}


def past(config: ConfigurableConfig, stride: int = 1) -> Window:
    """Three frames, those before only where time is causal."""
    kind = Window.causal if config.time == "causal" else Window.centred
    return kind(3, stride, config.time_padding)


def block(config: ConfigurableConfig, width: int, attention: Attention, beside: int = 0) -> Sweepable:
    """Two convolutions behind norms, and attention behind another, each as a residual.

    With `beside`, that many channels of latents travel along and condition the norms.
    """
    convolved: Sweepable = Residual(
        Chain(
            *(normed(config, width, beside, take=not beside), *_first_conv(config, width, beside)),
            *(normed(config, width, beside, take=True), _second_conv(config, width)),
        ),
        take(width) if beside else None,
    )
    if attention != "none":
        attended = Chain(plain_norm(config, width), *_attention(config, width, attention))
        convolved = Chain(convolved, Residual(attended))
    return Concat(convolved, take(beside, start=width)) if beside else convolved


def _first_conv(config: ConfigurableConfig, width: int, beside: int) -> list[Sweepable]:
    conv = Conv3d(width, width, **see(config)) if config.kernel == "3d" else Conv3d(width, width, h=_EDGES, w=_EDGES)
    return [along(conv, width, beside) if beside else conv]


def _second_conv(config: ConfigurableConfig, width: int) -> Conv3d:
    if config.kernel == "space-time":
        return Conv3d(width, width, t=past(config))
    return Conv3d(width, width, **see(config))


def _attention(config: ConfigurableConfig, width: int, kind: Attention) -> list[Sweepable]:
    if kind == "frame":
        return [FrameAttention(width, heads=max(1, width // config.head_dim))]
    return [Conv3d(width, 3 * width, bias=False), LinearAttention(config.head_dim), Conv3d(width, width, bias=False)]


def normed(config: ConfigurableConfig, width: int, beside: int, *, take: bool) -> Sweepable:
    """A norm and its SiLU; a conditioned one takes `beside` channels of latents in and, unless `take`, leaves them."""
    if not beside:
        return norm_silu(config, width)
    over: Literal["frame", "clip"] = "frame" if config.norm == "group-frame" else "clip"
    norm = SpatialNorm(config.groups, width, beside, over=over)
    return Chain(norm, TakeChannels(range(width))) if take else norm


def output_norm(config: ConfigurableConfig, width: int, beside: int) -> Sweepable:
    """The decoder's last norm, which leaves the activations alone."""
    return normed(config, width, beside, take=True)


def norm_silu(config: ConfigurableConfig, width: int) -> Sweepable:
    """A norm and the SiLU behind it."""
    return RMSNorm(width, silu=True) if config.norm == "rms" else Chain(plain_norm(config, width), SiLU())


def plain_norm(config: ConfigurableConfig, width: int) -> Sweepable:
    """A norm alone."""
    if config.norm == "rms":
        return RMSNorm(width)
    if config.norm == "layer":
        return LayerNorm(width)
    return GroupNorm(config.groups, width, over="frame" if config.norm == "group-frame" else "clip")


def along(module: Sweepable, width: int, beside: int) -> Concat:
    """`module` on the activations, the latents beside them as they are."""
    return Concat(Chain(take(width), module), take(beside, start=width))


def take(count: int, *, start: int = 0) -> TakeChannels:
    """A run of channels."""
    return TakeChannels(range(start, start + count))
