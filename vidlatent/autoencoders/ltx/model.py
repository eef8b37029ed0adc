"""LTX's autoencoder: per-position norms and convolutions only, so that a sweep is a single pass.

Time is padded with copies of its ends: the encoder with the first frame in front, the decoder on both sides. Frame 0
stays single: going down it shares its block with a copy of itself, going up that copy is dropped. One log-variance
serves all channels. Architecture: HaCohen et al., arXiv:2501.00103. The whole clip is the definition: the temporal
tiles that diffusers can be told to use give other, shifted frames.
"""

from __future__ import annotations

from itertools import count, pairwise

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.ltx.config import LTXConfig, Step
from vidlatent.autoencoders.ltx.timestep import ModulatedNorm, Modulation, NoiseInjection, TimeEmbedding, Timestep
from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.autoencoders.tiles import Tiles
from vidlatent.autoencoders.upstream import Upstream
from vidlatent.errors import ModelError
from vidlatent.nn import Chain, Conv3d, DepthToSpace, Fit, LayerNorm, Residual, SpaceToDepth, Trim, named
from vidlatent.nn.channels import GroupMean, TakeChannels
from vidlatent.nn.pixel_norm import PixelNorm
from vidlatent.nn.resample import Factors
from vidlatent.streaming import Sweepable, T, Window


def build(config: LTXConfig) -> Trees:
    """Both trees, with random weights."""
    spec = LatentSpec(config.latent_channels, config.stride, "single", config.mean, config.std)
    upstream = Upstream(tiles=Tiles.square(512, 448, config.stride[1]))
    return Trees(encoder(config), _Decoder(config).tree(), spec, has_logvar=True, upstream=upstream)


def encoder(config: LTXConfig) -> Chain:
    """The encoder alone, which LTX-2.5 has as well."""
    widths, latent = config.encoder_channels, config.latent_channels
    patch = (1, config.patch_size, config.patch_size)
    steps = [kind if on else None for kind, on in zip(config.downsample_kinds, config.downsample, strict=True)]
    levels = zip(pairwise(widths), steps, config.encoder_blocks, strict=False)
    return named(
        fit=Fit(config.stride, single_first=True),
        patch=SpaceToDepth(patch),
        conv_in=_causal(config.video_channels, widths[0]),
        down_blocks=Chain(*(_level_down(*pair, step, depth) for pair, step, depth in levels)),
        mid_block=named(resnets=Chain(*(_causal_block(widths[-1]) for _ in range(config.encoder_blocks[-1])))),
        norm_out=PixelNorm(silu=True),
        conv_out=_causal(widths[-1], latent + 1),
        moments=TakeChannels([*range(latent), *[latent] * latent]),
    )


def _level_down(dim_in: int, dim_out: int, step: Step | None, depth: int) -> Chain:
    """Blocks at one resolution, then the step to the next, then a block that changes the width if the step did not."""
    blocks = Chain(*(_causal_block(dim_in) for _ in range(depth)))
    if step is None:
        down = Chain()
    elif step == "conv":
        half, times = Window.centred(3, 2), Window.causal(3, 2, "replicate")
        down = Chain(Conv3d(dim_in, dim_in, t=times, h=half, w=half))
    else:
        return named(resnets=blocks, downsamplers=Chain(_fold(dim_in, dim_out, _factors(step))))
    return named(resnets=blocks, downsamplers=down, conv_out=_widen(dim_in, dim_out))


def _fold(dim_in: int, dim_out: int, factors: Factors) -> Residual:
    """Convolve, then fold blocks into channels, beside the folded input averaged to as many channels."""
    t, h, w = factors
    if dim_out % (t * h * w) or dim_in * t * h * w % dim_out:
        raise ModelError(f"{dim_in} channels do not fold by {factors} to {dim_out}: change encoder_widths")
    times = Window(3, 1, 2 + t - 1, 0, "replicate")
    conv = Conv3d(dim_in, dim_out // (t * h * w), t=times, h=Window.centred(3), w=Window.centred(3))
    average = GroupMean(dim_in * t * h * w // dim_out)
    return Residual(named(conv=conv, fold=SpaceToDepth(factors)), Chain(SpaceToDepth(factors, before=t - 1), average))


def _causal_block(dim: int, dim_out: int | None = None) -> Residual:
    dim_out = dim_out or dim
    body = named(
        norm1=PixelNorm(silu=True),
        conv1=_causal(dim, dim_out),
        norm2=PixelNorm(silu=True),
        conv2=_causal(dim_out, dim_out),
    )
    return Residual(body, _shortcut(dim, dim_out))


def _widen(dim_in: int, dim_out: int) -> Sweepable:
    return _causal_block(dim_in, dim_out) if dim_in != dim_out else Chain()


def _shortcut(dim_in: int, dim_out: int) -> Chain | None:
    if dim_in == dim_out:
        return None
    return named(norm3=LayerNorm(dim_in), conv_shortcut=Conv3d(dim_in, dim_out))


class _Decoder:
    """Builds the decoder: what its parts share is the padding, the timestep and a number for each source of noise."""

    def __init__(self, config: LTXConfig) -> None:
        self.config, self.streams = config, count()
        self.timestep = Timestep(config.decode_timestep) if config.timestep_conditioning else None

    def tree(self) -> Chain:
        config = self.config
        widths, depths, noisy = config.decoder_widths[::-1], config.decoder_blocks[::-1], config.inject_noise[::-1]
        levels, dim = [], widths[0]
        for index in range(len(widths)):
            levels.append(self._level(index, dim, depths[index + 1], noisy=noisy[index + 1]))
            dim = widths[index] // config.upsample_factor[::-1][index]
        return named(
            time=self.timestep or Chain(),
            conv_in=self._conv(config.latent_channels, widths[0]),
            mid_block=named(**self._blocks(widths[0], depths[0], noisy=noisy[0])),
            up_blocks=Chain(*levels),
            **self._norm_out(dim),
            conv_out=self._conv(dim, config.video_channels),
            unpatch=DepthToSpace((1, config.patch_size, config.patch_size)),
        )

    def _level(self, index: int, dim_in: int, depth: int, *, noisy: bool) -> Chain:
        config = self.config
        factor, residual = config.upsample_factor[::-1][index], config.upsample_residual[::-1][index]
        dim = config.decoder_widths[::-1][index] // factor
        kind: Step = config.upsample_kinds[index] if config.upsample_kinds else "spatiotemporal"
        step = self._unfold(dim * factor, dim, _factors(kind), residual=residual)
        widen = self._block(dim_in, dim, None, noisy=False) if dim_in // factor != dim else Chain()
        up = step if config.upsample[::-1][index] else Chain()
        return named(conv_in=widen, upsamplers=up, **self._blocks(dim, depth, noisy=noisy))

    def _unfold(self, dim_in: int, dim_out: int, factors: Factors, *, residual: bool) -> Chain:
        """Convolve, then unfold channels into blocks, beside the unfolded input repeated to as many channels."""
        t, h, w = factors
        if residual and (dim_in % (t * h * w) or dim_out * t * h * w % dim_in):
            raise ModelError(f"{dim_in} channels do not unfold by {factors} to {dim_out}: change decoder_widths")
        body = named(conv=self._conv(dim_in, dim_out * t * h * w), unfold=DepthToSpace(factors))
        given = dim_in // (t * h * w)
        repeat = TakeChannels([*range(given)] * (dim_out // max(given, 1)))
        return Chain(Residual(body, Chain(DepthToSpace(factors), repeat)) if residual else body, Trim(T, before=t - 1))

    def _blocks(self, dim: int, depth: int, *, noisy: bool) -> dict[str, Sweepable]:
        embedding = TimeEmbedding(self.timestep, 4, dim) if self.timestep else None
        blocks = [self._block(dim, dim, embedding, noisy=noisy) for _ in range(depth)]
        return {"time_embedder": embedding or Chain(), "resnets": Chain(*blocks)}

    def _block(self, dim: int, dim_out: int, embedding: TimeEmbedding | None, *, noisy: bool) -> Residual:
        modulation = Modulation(embedding, dim) if embedding else None
        body = named(
            modulation=modulation or Chain(),
            norm1=ModulatedNorm(modulation, 0) if modulation else PixelNorm(silu=True),
            conv1=self._conv(dim, dim_out),
            noise1=self._noise(dim_out) if noisy else Chain(),
            norm2=ModulatedNorm(modulation, 1) if modulation else PixelNorm(silu=True),
            conv2=self._conv(dim_out, dim_out),
            noise2=self._noise(dim_out) if noisy else Chain(),
        )
        return Residual(body, _shortcut(dim, dim_out))

    def _norm_out(self, dim: int) -> dict[str, Sweepable]:
        if not self.timestep:
            return {"norm_out": PixelNorm(silu=True)}
        embedding = TimeEmbedding(self.timestep, 2, dim)
        modulation = Modulation(embedding, dim)
        return {"time_embedder": embedding, "modulation": modulation, "norm_out": ModulatedNorm(modulation, 0)}

    def _noise(self, dim: int) -> NoiseInjection:
        return NoiseInjection(dim, seed=self.config.noise_seed, stream=next(self.streams))

    def _conv(self, dim_in: int, dim_out: int) -> Conv3d:
        space = Window.centred(3, mode=self.config.decoder_padding)
        times = Window.causal if self.config.decoder_causal else Window.centred
        return Conv3d(dim_in, dim_out, t=times(3, mode="replicate"), h=space, w=space)


def _factors(step: Step) -> Factors:
    return (1 if step == "spatial" else 2, *((1, 1) if step == "temporal" else (2, 2)))


def _causal(dim_in: int, dim_out: int) -> Conv3d:
    return Conv3d(dim_in, dim_out, t=Window.causal(3, mode="replicate"), h=Window.centred(3), w=Window.centred(3))
