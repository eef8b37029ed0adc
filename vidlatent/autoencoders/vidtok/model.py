"""VidTok (Microsoft, arXiv:2412.13061): blocks of the frame and blocks along time in turn, norms of a position.

Causal models keep the first frame single by copies of it in front of the clip, one latent being a whole group of frames
inside; what the decoder makes of the copies is dropped. Version 1.1 doubles the frame rate by linear interpolation, the
first frames by themselves. Latents are continuous, or rounded to few levels. The whole clip is the definition; the
chunks that upstream can be told to run begin interpolation anew behind the first latent, and differ by that. Models
that are not causal take 16 frames at a time there, which `policy="upstream"` reproduces.
"""

from __future__ import annotations

from itertools import pairwise

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.image_kl.model import double, frame_conv
from vidlatent.autoencoders.tiles import Runs, Tiles
from vidlatent.autoencoders.upstream import Upstream
from vidlatent.autoencoders.vidtok.config import VidTokConfig
from vidlatent.nn import Chain, Conv3d, Fit, FrameAttention, LayerNorm, Nearest, Residual, Trim, named
from vidlatent.nn.edges import Pad
from vidlatent.nn.mix import Mix
from vidlatent.nn.rates import FrameMean, Interpolate, RepeatFrames
from vidlatent.quantize import FiniteScalarQuantizer
from vidlatent.streaming import PadMode, Sweepable, T, Window


def build(config: VidTokConfig) -> Trees:
    """Both trees, with random weights."""
    time, space, _ = config.spec.stride
    runs = Runs(16 // time, 16 // time, single=False, joined=True) if config.time == "centred" else None
    upstream = Upstream(tiles=Tiles.square(256, 256, space), tiled_runs=runs)
    discrete = config.discrete
    return Trees(_encoder(config), _decoder(config), config.spec, has_logvar=not discrete, upstream=upstream)


def _encoder(config: VidTokConfig) -> Chain:
    widths, spec, past = config.widths, config.spec, _window(config, 3)
    copies = 0 if config.time == "centred" else spec.stride[0] - 1
    levels = []
    for (before, width), (in_space, in_time) in zip(pairwise((config.base, *widths)), config.down_steps, strict=True):
        space = frame_conv(width, width, Window(3, 2, 0, 1)) if in_space else Chain()
        blocks = _blocks(before, width, config.num_res_blocks, past)
        levels.append(named(blocks=blocks, space=space, time=_halve(width, config) if in_time else Chain()))
    channels = config.latent_channels
    return named(
        fit=Fit(spec.stride, single_first=spec.first_frame == "single"),
        ends=Pad(T, copies, 0, "replicate"),
        conv_in=_conv(3, config.base, past),
        levels=Chain(*levels),
        middle=_middle(widths[-1], past),
        norm_out=LayerNorm(widths[-1], silu=True),
        conv_out=_conv(widths[-1], channels if config.discrete else 2 * channels, past),
        quantize=FiniteScalarQuantizer(config.levels) if config.discrete else Chain(),
    )


def _decoder(config: VidTokConfig) -> Chain:
    widths, past = config.widths[::-1], _window(config, 3)
    levels, alone = [], 1
    for (before, width), (in_space, in_time) in zip(pairwise((widths[0], *widths)), config.up_steps, strict=True):
        blocks = _blocks(before, width, config.num_res_blocks + 1, past)
        time = named(rate=_double_rate(config, alone), mix=Mix(Chain(), _conv(width, width, past)))
        levels.append(
            named(blocks=blocks, space=double(width) if in_space else Chain(), time=time if in_time else Chain())
        )
        alone = 2 * alone if in_time else alone
    return named(
        conv_in=_conv(config.latent_channels, widths[0], past),
        middle=_middle(widths[0], past),
        levels=Chain(*levels),
        norm_out=LayerNorm(widths[-1], silu=True),
        conv_out=_conv(widths[-1], 3, past),
        trim=Trim(T, before=0 if config.time == "centred" else config.spec.stride[0] - 1),
    )


def _blocks(before: int, width: int, count: int, past: Window) -> Chain:
    """Blocks of the frame, each followed by one along time."""
    return Chain(*(_pair(before if i == 0 else width, width, past) for i in range(count)))


def _pair(before: int, width: int, past: Window) -> Chain:
    edges = Window.centred(3)
    return named(
        frame=_block(before, width, Window(), edges),
        time=_block(width, width, past, Window()),
    )


def _middle(width: int, past: Window) -> Chain:
    edges = Window.centred(3)
    attention = Residual(Chain(LayerNorm(width), FrameAttention(width)))
    return Chain(_block(width, width, past, edges), attention, _block(width, width, past, edges))


def _block(before: int, width: int, time: Window, space: Window) -> Residual:
    first = Conv3d(before, width, t=time, h=space, w=space)
    second = Conv3d(width, width, t=time, h=space, w=space)
    body = Chain(LayerNorm(before, silu=True), first, LayerNorm(width, silu=True), second)
    return Residual(body, Conv3d(before, width) if before != width else None)


def _halve(width: int, config: VidTokConfig) -> Mix:
    """Half the frames: means of three beside a strided convolution."""
    window = _window(config, 3, stride=2)
    return Mix(FrameMean(window), _conv(width, width, window))


def _double_rate(config: VidTokConfig, alone: int) -> Sweepable:
    """Twice the frames; in version 1.1 interpolated, the first `alone` and the rest each by themselves.

    Both sides of that seam are continued with copies of their own end, which are taken out again.
    """
    if config.time != "causal":
        return Nearest((2, 1, 1))
    copies = RepeatFrames(alone - 1, alone + 1, times=2)
    return Chain(copies, Interpolate(T), RepeatFrames(2 * alone, 2 * alone + 4, times=0))


def _window(config: VidTokConfig, kernel: int, stride: int = 1) -> Window:
    """What a layer sees along time."""
    if config.time == "centred":
        return Window(kernel, stride, (kernel - stride) // 2, kernel // 2)
    mode: PadMode = "replicate" if config.time == "causal" else "zeros"
    return Window(kernel, stride, kernel - stride, 0, mode)


def _conv(width_in: int, width: int, time: Window) -> Conv3d:
    return Conv3d(width_in, width, t=time, h=Window.centred(3), w=Window.centred(3))
