"""LTX-2.5's autoencoder: LTX-2.3's encoder, and a decoder of attention among neighbours; both are single passes.

Four stages enlarge the latents to a context, by attention and pixel shuffles in turn; frame 0 stays single, as its copy
is dropped after every doubling of frames. Windows are moved inwards at the ends of every axis. Behind the last latent
two copies of it are seen, and what comes of them is dropped before the fifth stage: it takes noise to pixels in one
step, guided by the context. Clips smaller than a window are enlarged with copies of their edges, as the authors' code
does; diffusers refuses them. The whole clip is the definition: published tiles draw their noise anew and are blended.
Attention to neighbours: Hassani et al., arXiv:2204.07143.
"""

from __future__ import annotations

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.ltx.model import encoder
from vidlatent.autoencoders.ltx_25.config import LTX25Config
from vidlatent.autoencoders.ltx_25.denoising import Inject, ModulatedNorm, Modulation, Noise, NoiseLevel
from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.autoencoders.upstream import Upstream
from vidlatent.nn import Chain, Concat, Conv3d, DepthToSpace, Residual, Trim, named
from vidlatent.nn.affine_norm import AffinePixelNorm
from vidlatent.nn.at_least import AtLeast
from vidlatent.nn.channels import TakeChannels
from vidlatent.nn.edges import Pad
from vidlatent.nn.gated_mlp import GatedMLP
from vidlatent.nn.neighbourhood import NeighbourhoodAttention
from vidlatent.nn.resample import Factors
from vidlatent.streaming import Sweepable, T

_EPS = 1e-6


def build(config: LTX25Config) -> Trees:
    """Both trees, with random weights."""
    stride = config.decoder_stride
    spec = LatentSpec(config.latent_channels, stride, "single", config.mean, config.std)
    decoder = AtLeast(_decoder(config), config.least, stride)
    upstream = Upstream(without_tiles="published tiles draw their noise anew, and only its last stages are cut")
    return Trees(encoder(config.encoder), decoder, spec, has_logvar=True, upstream=upstream)


def _decoder(config: LTX25Config) -> Chain:
    widths, steps = config.decoder_widths, zip(config.steps, config.upsample, strict=True)
    kernels, depths, dim = config.decoder_kernels, config.decoder_blocks, config.head_dim
    stages = [
        named(blocks=Chain(*(_block(before, kernel, dim) for _ in range(depth))), up=_enlarge(before, after, step))
        for ((before, after), step), kernel, depth in zip(steps, kernels, depths, strict=False)
    ]
    return named(
        ghosts=Pad(T, 0, config.ghosts, "replicate"),
        conv_in=Conv3d(config.latent_channels, widths[0]),
        stages=Chain(*stages),
        crop=Trim(T, after=config.ghosts * config.decoder_stride[0]),
        **_denoise(config, widths[-1]),
        unpatch=DepthToSpace((1, config.patch_size, config.patch_size)),
    )


def _enlarge(before: int, after: int, step: Factors) -> Chain:
    t, h, w = step
    return named(proj=Conv3d(before, after * t * h * w), unfold=DepthToSpace(step), single=Trim(T, before=t - 1))


def _block(dim: int, kernel: Factors, head_dim: int) -> Chain:
    norm1, norm2 = (AffinePixelNorm(dim, bias=False, eps=_EPS) for _ in range(2))
    return _around(dim, kernel, head_dim, norm1, norm2)


def _around(dim: int, kernel: Factors, head_dim: int, norm1: Sweepable, norm2: Sweepable) -> Chain:
    """A transformer block with these norms."""
    attention = NeighbourhoodAttention(dim, kernel, head_dim, eps=_EPS)
    return named(
        attn=Residual(named(norm=norm1, attention=attention, to_out=Conv3d(dim, dim))),
        mlp=Residual(named(norm=norm2, mlp=GatedMLP(dim, (4 * dim + 15) // 16 * 16))),
    )


def _denoise(config: LTX25Config, dim: int) -> dict[str, Sweepable]:
    level, pixels = NoiseLevel(config.time_channels, dim), 3 * config.patch_size**2
    blocks: list[Sweepable] = [_guided(config, dim, level) for _ in range(config.decoder_blocks[-1])]
    goes_on = [Concat(TakeChannels(range(dim)), block) for block in blocks[:-1]]
    return {
        "level": level,
        "noise": Noise(pixels, dim, seed=config.noise_seed),
        "blocks": Chain(*goes_on, *blocks[-1:]),
        "norm_out": AffinePixelNorm(dim, bias=False, eps=_EPS),
        "conv_out": Conv3d(dim, pixels),
    }


def _guided(config: LTX25Config, dim: int, level: NoiseLevel) -> Chain:
    modulation = Modulation(level, dim)
    norms = ModulatedNorm(dim, modulation, 0), ModulatedNorm(dim, modulation, 3)
    block = _around(dim, config.decoder_kernels[-1], config.head_dim, *norms)
    return named(inject=Inject(dim, dim), modulation=modulation, block=block)
