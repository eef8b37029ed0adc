"""Steps from one grid to another, and the ways around them without weights.

A first frame that stays single is a block of its own going down, filled up with what the padding says, and what it
filled up is trimmed away going up.
"""

from __future__ import annotations

import math

from vidlatent.autoencoders.configurable.blocks import Windows, past, see, take
from vidlatent.autoencoders.configurable.config import ConfigurableConfig
from vidlatent.nn import Chain, Concat, Conv3d, DepthToSpace, Nearest, Residual, SpaceToDepth, Trim
from vidlatent.nn.channels import GroupMean, TakeChannels
from vidlatent.nn.resample import Factors
from vidlatent.streaming import Sweepable, T, Window


def down(config: ConfigurableConfig, width: int, width_out: int, factors: Factors) -> Sweepable:
    """To a grid coarser by `factors`, by a strided convolution or by positions folded into channels."""
    if config.step_kind == "conv":
        body: Sweepable = Conv3d(width, width_out, **_strided(config, factors))
    else:
        body = Chain(_fold(config, factors), Conv3d(width * math.prod(factors), width_out))
    if not config.shortcuts:
        return body
    averaged = width * math.prod(factors) // width_out
    return Residual(body, Chain(_fold(config, factors), *([GroupMean(averaged)] if averaged > 1 else [])))


def up(config: ConfigurableConfig, width: int, width_out: int, factors: Factors, beside: int) -> Sweepable:
    """To a grid finer by `factors`; `beside` channels of latents are repeated along with the activations."""
    if config.step_kind == "conv":
        body = Chain(Nearest(factors), *_trim(config, factors), Conv3d(width, width_out, **see(config)))
    else:
        body = Chain(
            Conv3d(width, width_out * math.prod(factors), h=_space(1), w=_space(1)),
            DepthToSpace(factors),
            *_trim(config, factors),
        )
    stepped: Sweepable = body
    if config.shortcuts:
        times = width_out * math.prod(factors) // width
        repeat = TakeChannels(index // times for index in range(width * times))
        stepped = Residual(body, Chain(repeat, DepthToSpace(factors), *_trim(config, factors)))
    if not beside:
        return stepped
    repeated = Chain(take(beside, start=width), Nearest(factors), *_trim(config, factors))
    return Concat(Chain(take(width), stepped), repeated)


def _strided(config: ConfigurableConfig, factors: Factors) -> Windows:
    t, h, w = factors
    return {"t": _time(config, t), "h": _space(h), "w": _space(w)}


def _time(config: ConfigurableConfig, stride: int) -> Window:
    """Reads the frames of its block and those before; without a single first frame, whole blocks from the first on."""
    if stride == 1:
        return Window() if config.kernel != "3d" else past(config)
    if config.first_frame == "single":
        return Window.causal(stride + 1, stride, config.time_padding)
    before = 1 if config.time == "causal" else 0
    return Window(stride + 1, stride, before, 1 - before, config.time_padding)


def _space(stride: int) -> Window:
    return Window.centred(3) if stride == 1 else Window(stride + 1, stride, 0, 1)


def _fold(config: ConfigurableConfig, factors: Factors) -> SpaceToDepth:
    return SpaceToDepth(factors, before=factors[0] - 1 if config.first_frame == "single" else 0)


def _trim(config: ConfigurableConfig, factors: Factors) -> list[Sweepable]:
    extra = factors[0] - 1 if config.first_frame == "single" else 0
    return [Trim(T, before=extra)] if extra else []
