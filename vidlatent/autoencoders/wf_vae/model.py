"""WF-VAE (Li et al., arXiv:2411.17459): causal convolutions, and low frequencies that go round them as wavelets.

Each level passes the lowest sub-bands on to the next, transformed again, and takes what the bands of its own say; the
decoder adds what it makes of its bands to the lowest bands of the level below. Norms see one position, the attention in
the middle one frame; in front of the clip stand copies of its first frame, and the frame rate is doubled by linear
interpolation of all frames but the first. Upstream's chunks ("causal cache") equal the whole clip that this is.
"""

from __future__ import annotations

from dataclasses import dataclass

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.image_kl.model import double, frame_conv
from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.autoencoders.upstream import Upstream
from vidlatent.autoencoders.wf_vae.wavelets import haar, inverse_haar
from vidlatent.errors import ModelError
from vidlatent.nn import Chain, Concat, Conv3d, Fit, FrameAttention, LayerNorm, Residual, Trim, named
from vidlatent.nn.channels import TakeChannels
from vidlatent.nn.pad_channels import PadChannels
from vidlatent.nn.rates import Interpolate, RepeatFrames
from vidlatent.streaming import H, Sweepable, T, W, Window

_PAST, _EDGES = Window.causal(3, mode="replicate"), Window.centred(3)
_COLOURS, _BANDS_SPACE, _BANDS_BOTH = 3, 12, 24
STRIDE = (4, 8, 8)


@dataclass(frozen=True)
class WFVAEConfig:
    """Widths and depths; the defaults are WF-VAE-L with 16 channels.

    Levels work at `base`, `2 * base` and `4 * base` channels; `encoder_flow` and `decoder_flow` are the channels of the
    path of energy, which `flow_blocks` blocks of the decoder change. `scale` and `shift`, one per latent channel, are
    for diffusion models: they are fed `(latents - shift) * scale`. Raises `ModelError` where the fields contradict each
    other.
    """

    latent_channels: int = 16
    base: int = 192
    encoder_blocks: int = 2
    decoder_blocks: int = 2
    encoder_flow: int = 128
    decoder_flow: int = 128
    flow_blocks: int = 1
    middle_attention: bool = True
    scale: tuple[float, ...] = ()
    shift: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        widths = (self.latent_channels, self.base, self.encoder_flow, self.decoder_flow)
        if min(*widths, self.encoder_blocks, self.decoder_blocks) < 1 or self.flow_blocks < 0:
            raise ModelError(f"channels and blocks must be at least 1, got {self}")
        for name, values in (("scale", self.scale), ("shift", self.shift)):
            if values and len(values) != self.latent_channels:
                raise ModelError(f"{name} has {len(values)} entries for {self.latent_channels} channels")
        if 0.0 in self.scale:
            raise ModelError("scale must not be 0")

    @property
    def spec(self) -> LatentSpec:
        """The latent grid."""
        return LatentSpec(self.latent_channels, STRIDE, "single", self.shift, tuple(1 / each for each in self.scale))


def build(config: WFVAEConfig) -> Trees:
    """Both trees, with random weights."""
    upstream = Upstream(chunks_equal=True)
    return Trees(_encoder(config), _decoder(config), config.spec, has_logvar=True, upstream=upstream)


def _encoder(config: WFVAEConfig) -> Chain:
    base, flow = config.base, config.encoder_flow
    first = named(
        conv_in=frame_conv(_BANDS_BOTH, base),
        blocks=Chain(*(_frame_block(base) for _ in range(config.encoder_blocks))),
        down=frame_conv(base, base, Window(3, 2, 0, 1)),
    )
    second = named(
        conv_in=frame_conv(base + flow, 2 * base),
        blocks=Chain(*(_block(2 * base, 2 * base) for _ in range(config.encoder_blocks))),
        down=_halve(2 * base),
    )
    return named(
        fit=Fit(STRIDE, single_first=True),
        bands=haar(in_time=True),
        first=Concat(first, Chain(_take(_COLOURS), haar(in_time=False))),
        second=Concat(
            Chain(_beside(base, frame_conv(_BANDS_SPACE, flow)), second),
            Chain(_take(_COLOURS, base), haar(in_time=True)),
        ),
        join=_beside(2 * base, frame_conv(_BANDS_BOTH, flow)),
        middle=_middle(2 * base + flow, 4 * base, 4 * base, attention=config.middle_attention),
        norm_out=LayerNorm(4 * base, silu=True),
        conv_out=_conv(4 * base, 2 * config.latent_channels),
    )


def _decoder(config: WFVAEConfig) -> Chain:
    wide, half, base, flow = 4 * config.base, 2 * config.base, config.base, config.decoder_flow
    second = named(
        take=_take(wide),
        blocks=Chain(*(_block(wide, wide) for _ in range(config.decoder_blocks))),
        up=_double(wide),
        block=_block(wide, wide + flow),
    )
    first = named(
        take=_take(wide),
        blocks=Chain(*(_block(wide if i == 0 else half, half) for i in range(config.decoder_blocks))),
        up=double(half),
        block=_block(half, half),
        last=Chain(_block(half, base), _block(base, base)),
        norm_out=LayerNorm(base, silu=True),
        conv_out=frame_conv(base, _BANDS_BOTH),
    )
    low = Chain(_energy(flow, wide, _BANDS_BOTH, config.flow_blocks), inverse_haar(in_time=True), Trim(T, before=1))
    energy = _energy(flow, wide, _BANDS_SPACE, config.flow_blocks)
    added = Residual(energy, Chain(_take(_COLOURS, wide + flow), PadChannels(_BANDS_SPACE)))
    return named(
        conv_in=_conv(config.latent_channels, wide),
        middle=_middle(wide, wide, wide + flow, attention=config.middle_attention),
        second=Concat(second, low),
        first=Concat(first, Chain(added, inverse_haar(in_time=False))),
        bands=Residual(_take(_BANDS_BOTH), Chain(_take(_COLOURS, _BANDS_BOTH), PadChannels(_BANDS_BOTH))),
        pixels=inverse_haar(in_time=True),
        trim=Trim(T, before=1),
    )


def _beside(width: int, module: Sweepable) -> Concat:
    """`module` on the channels behind the first `width`, which stay."""
    return Concat(_take(width), Chain(_take(module.in_channels, width), module))  # type: ignore[arg-type]


def _energy(flow: int, start: int, bands: int, count: int) -> Chain:
    """Sub-bands of the `flow` channels behind `start`."""
    blocks = Chain(*(_block(flow, flow) for _ in range(count)))
    return named(take=_take(flow, start), blocks=blocks, conv=frame_conv(flow, bands))


def _take(count: int, start: int = 0) -> TakeChannels:
    return TakeChannels(range(start, start + count))


def _middle(before: int, width: int, after: int, *, attention: bool) -> Chain:
    attend = Residual(Chain(LayerNorm(width), FrameAttention(width))) if attention else Chain()
    return Chain(_block(before, width), attend, _block(width, after))


def _frame_block(width: int) -> Residual:
    convs = frame_conv(width, width), frame_conv(width, width)
    return Residual(Chain(LayerNorm(width, silu=True), convs[0], LayerNorm(width, silu=True), convs[1]))


def _block(before: int, width: int) -> Residual:
    norms = LayerNorm(before, silu=True), LayerNorm(width, silu=True)
    body = Chain(norms[0], _conv(before, width), norms[1], _conv(width, width))
    return Residual(body, Conv3d(before, width) if before != width else None)


def _halve(width: int) -> Conv3d:
    past, edge = Window.causal(3, 2, mode="replicate"), Window(3, 2, 0, 1)
    return Conv3d(width, width, t=past, h=edge, w=edge)


def _double(width: int) -> Chain:
    """Double by linear interpolation, along time of the frames behind the first by themselves, then a convolution.

    At that seam both sides are continued with a copy, which is taken out again with the first frame's double.
    """
    time = Chain(RepeatFrames(0, 2, times=2), Interpolate(T), RepeatFrames(1, 6, times=0))
    return named(time=time, rows=Interpolate(H), columns=Interpolate(W), conv=_conv(width, width))


def _conv(width_in: int, width: int) -> Conv3d:
    return Conv3d(width_in, width, t=_PAST, h=_EDGES, w=_EDGES)
