"""DC-AE-V (Chen et al., arXiv:2509.25182), after DC-AE (arXiv:2410.10733): chunk-causal along time.

Every convolution sees all frames of its chunk of 40 (10 latents) and those before, but zeros behind the chunk. Space is
halved level by level, by pixels moved to channels beside shortcuts without weights that do the same; time all at once
in front of the coarsest level. Nothing is gathered: norms see a position each. Upstream runs whole chunks with what
its layers remember, which this equals. A last chunk that is shorter sees what was before it, too; upstream has it
alone, or fills it with copies of the last frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.dc_ae_video.model import average, repeat
from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.errors import ModelError
from vidlatent.nn import Chain, Conv3d, DepthToSpace, Fit, Residual, SiLU, SpaceToDepth, named
from vidlatent.nn.affine_norm import AffinePixelNorm
from vidlatent.nn.chunks import ChunkCausal
from vidlatent.nn.resample import Factors
from vidlatent.streaming import Sweepable, Window


@dataclass(frozen=True)
class DCAEVConfig:
    """Widths and depths by level, finest first; the defaults are the published f32t4c32.

    A first step halves the frame, and one behind each level but the last two; the step in front of the last level takes
    `time_stride` frames together. Level `i` has `depths[i]` blocks. `chunk` is in frames. `scaling_factor` is what a
    diffusion model's latents are multiplied with; 1.0 where it was not published. Raises `ModelError` where the fields
    contradict each other.
    """

    latent_channels: int = 32
    widths: tuple[int, ...] = (256, 512, 512, 1024, 1024, 1024)
    depths: tuple[int, ...] = (5, 10, 4, 4, 4, 4)
    time_stride: int = 4
    chunk: int = 40
    scaling_factor: float = 0.7241

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.depths) or len(self.widths) < 2:
            raise ModelError(f"depths needs one entry for each of at least 2 widths, got {self}")
        if min(*self.widths, *self.depths, self.latent_channels, self.time_stride) < 1:
            raise ModelError(f"widths, depths, latent_channels and time_stride must be at least 1, got {self}")
        if self.chunk < 1 or self.chunk % self.time_stride:
            raise ModelError(f"chunk {self.chunk} is no multiple of time_stride {self.time_stride}")
        for fine, coarse, step in self.steps:
            if coarse % math.prod(step) or fine * math.prod(step) % coarse:
                raise ModelError(f"{step} x {fine} channels do not make {coarse}, as steps and their shortcuts need")
        if not self.scaling_factor > 0:
            raise ModelError(f"scaling_factor must be positive, got {self.scaling_factor}")

    @property
    def steps(self) -> list[tuple[int, int, Factors]]:
        """Channels of the finer and the coarser level, and how much (T, H, W) change between them."""
        halves: list[Factors] = [(1, 2, 2)] * (len(self.widths) - 2)
        return list(zip(self.widths, self.widths[1:], [*halves, (self.time_stride, 1, 1)], strict=False))

    @property
    def spec(self) -> LatentSpec:
        """The latent grid."""
        space, std = 2 ** (len(self.widths) - 1), (1 / self.scaling_factor,) * self.latent_channels
        return LatentSpec(self.latent_channels, (self.time_stride, space, space), "grouped", (), std)


def build(config: DCAEVConfig) -> Trees:
    """Both trees, with random weights."""
    return Trees(_encoder(config), _decoder(config), config.spec, has_logvar=False)


def _encoder(config: DCAEVConfig) -> Chain:
    widths, few = config.widths, config.chunk // config.time_stride
    levels = [
        Chain(
            *_blocks(level, config), *([_down(*config.steps[level], config.chunk)] if level < len(widths) - 1 else [])
        )
        for level in range(len(widths))
    ]
    return named(
        fit=Fit(config.spec.stride, single_first=False),
        conv_in=_halving(3, widths[0], (1, 2, 2), config.chunk),
        levels=Chain(*levels),
        conv_out=_conv(widths[-1], config.latent_channels, few),
    )


def _decoder(config: DCAEVConfig) -> Chain:
    widths, few = config.widths, config.chunk // config.time_stride
    levels = []
    for level in reversed(range(len(widths))):
        step = []
        if level < len(widths) - 1:
            fine, coarse, factors = config.steps[level]
            step = [_up(coarse, fine, factors, few if factors[0] > 1 else config.chunk)]
        levels.append(Chain(*step, *_blocks(level, config)))
    return named(
        conv_in=_conv(config.latent_channels, widths[-1], few),
        levels=Chain(*levels),
        norm_out=AffinePixelNorm(widths[0]),
        silu=SiLU(),
        conv_out=_doubling(widths[0], 3, (1, 2, 2), config.chunk),
    )


def _blocks(level: int, config: DCAEVConfig) -> list[Sweepable]:
    is_last, width = level == len(config.widths) - 1, config.widths[level]
    chunk = config.chunk // config.time_stride if is_last else config.chunk
    return [_block(width, chunk) for _ in range(config.depths[level])]


def _block(width: int, chunk: int) -> Residual:
    return Residual(
        named(
            conv1=_conv(width, width, chunk),
            silu=SiLU(),
            conv2=_conv(width, width, chunk, bias=False),
            norm=AffinePixelNorm(width),
        )
    )


def _down(width: int, out: int, step: Factors, chunk: int) -> Residual:
    return Residual(_halving(width, out, step, chunk), Chain(SpaceToDepth(step), average(width * math.prod(step), out)))


def _up(width: int, out: int, step: Factors, chunk: int) -> Residual:
    return Residual(_doubling(width, out, step, chunk), Chain(repeat(width, out * math.prod(step)), DepthToSpace(step)))


def _halving(width: int, out: int, step: Factors, chunk: int) -> Chain:
    return named(conv=_conv(width, out // math.prod(step), chunk), fold=SpaceToDepth(step))


def _doubling(width: int, out: int, step: Factors, chunk: int) -> Chain:
    return named(conv=_conv(width, out * math.prod(step), chunk), unfold=DepthToSpace(step))


def _conv(width: int, out: int, chunk: int, *, bias: bool = True) -> ChunkCausal:
    window = Window.centred(3)
    return ChunkCausal(Conv3d(width, out, t=window, h=window, w=window, bias=bias), chunk)


_F64_WIDTHS, _F64_DEPTHS = (256, 512, 512, 1024, 1024, 1024, 1024), (5, 10, 4, 4, 4, 4, 4)

F32T4C32 = DCAEVConfig()
F32T4C64 = DCAEVConfig(latent_channels=64, scaling_factor=1.0)
F32T4C128 = DCAEVConfig(latent_channels=128, scaling_factor=1.0)
F32T4C256 = DCAEVConfig(latent_channels=256, scaling_factor=1.0)
F64T4C128 = DCAEVConfig(latent_channels=128, widths=_F64_WIDTHS, depths=_F64_DEPTHS, scaling_factor=1.0)
