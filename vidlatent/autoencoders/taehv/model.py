"""TAEHV's tiny autoencoders: convolutions within a frame, and blocks that also see the frame before.

Latents are those of a large model as its diffusion transformer is fed them, so there is nothing to normalise. Decoding
gives `1 + (t - 1) * stride` frames, as the large models do. Encoding pools whole groups of frames: a clip of
`1 + k * stride` frames is filled with copies of its last frame. At other lengths the authors fill to the next group
only, and decode fewer frames than they were given; here every frame comes back. Architecture: Boer Bohan,
github.com/madebyollin/taehv.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.errors import ModelError
from vidlatent.nn import Chain, Concat, Conv3d, DepthToSpace, Fit, Nearest, Residual, Scale, SpaceToDepth, Trim, named
from vidlatent.nn.activations import ReLU, SoftClamp
from vidlatent.nn.chunks import Afresh, Lead, unlead
from vidlatent.nn.edges import Pad
from vidlatent.streaming import Sweepable, T, Window

_LATENT_LIMIT = 3.0


@dataclass(frozen=True)
class TAEHVConfig:
    """Sizes; the defaults are `taehv` (HunyuanVideo), `taew2_1` (Wan 2.1), `taecvx` and `taeos1_3` (Open-Sora 1.3).

    `downsample` and `upsample` say for each of three levels, in the order they run, whether time changes by two (space
    always does). `patch_size` folds blocks of pixels into channels. `decoder` "wide" has blocks that convolve 64
    channels at a time; "super" has some with a wide view of each channel, and shuffles pixels. With `run` every so many
    latents are encoded by themselves, and begin with a single frame; decoding goes on over them. Raises `ModelError`
    where time goes down and up by different factors.
    """

    latent_channels: int = 16
    patch_size: int = 1
    downsample: tuple[bool, bool, bool] = (True, True, False)
    upsample: tuple[bool, bool, bool] = (False, True, True)
    encoder_width: int = 64
    decoder_widths: tuple[int, int, int, int] = (256, 128, 64, 64)
    num_blocks: int = 3
    decoder: Literal["base", "wide", "super"] = "base"
    run: int = 0

    def __post_init__(self) -> None:
        if sum(self.downsample) != sum(self.upsample):
            raise ModelError(f"downsample {self.downsample} and upsample {self.upsample} must have as many steps")
        sizes = (self.latent_channels, self.patch_size, self.encoder_width, *self.decoder_widths)
        if min(sizes) < 1 or min(self.num_blocks, self.run) < 0:
            raise ModelError(f"sizes must be at least 1, and num_blocks and run not below 0, got {self}")

    @property
    def stride(self) -> tuple[int, int, int]:
        """Video size per latent along (T, H, W)."""
        return 2 ** sum(self.downsample), 8 * self.patch_size, 8 * self.patch_size

    @property
    def spec(self) -> LatentSpec:
        """The latent grid."""
        return LatentSpec(self.latent_channels, self.stride, "single", run=self.run)

    @property
    def run_frames(self) -> int:
        """Video frames of a run."""
        return self.spec.num_frames(self.run)

    @property
    def video_channels(self) -> int:
        """Channels of a video whose patches are folded."""
        return 3 * self.patch_size**2


_SUPER = (512, 256, 128, 64)

TAEHV = TAEHVConfig()
TAEW_22 = TAEHVConfig(latent_channels=48, patch_size=2)
TAEHV_15 = TAEHVConfig(latent_channels=32, patch_size=2)
TAELTX_2 = TAEHVConfig(latent_channels=128, patch_size=4, downsample=(True, True, True), upsample=(True, True, True))
"""`taew2_2`, `taehv1_5`, and `taeltx_2`, which LTX-2.3's `taeltx2_3` shares."""

TAELTX_23_WIDE = replace(TAELTX_2, decoder="wide", decoder_widths=(1024, 512, 256, 64))

TAEH3 = TAEHVConfig(latent_channels=24, patch_size=2, run=5)

TAEW_22_SUPER = TAEHVConfig(latent_channels=48, patch_size=2, decoder="super", decoder_widths=_SUPER)
TAEHV_15_SUPER = TAEHVConfig(latent_channels=32, patch_size=2, decoder="super", decoder_widths=_SUPER)


def build(config: TAEHVConfig) -> Trees:
    """Both trees, with random weights."""
    return Trees(_encoder(config), _decoder(config), config.spec, has_logvar=False)


def _encoder(config: TAEHVConfig) -> Chain:
    time = config.stride[0]
    fit = Fit(config.stride, single_first=True, run=config.run_frames)
    groups = Lead(config.run_frames, time - 1) if config.run else Fit((time, 1, 1), single_first=False)
    patch = SpaceToDepth((1, config.patch_size, config.patch_size))
    layers = Chain(*_encoder_layers(config))
    return named(fit=fit, unit=Scale([0.5] * 3, [0.5] * 3), groups=groups, patch=patch, layers=layers)


def _encoder_layers(config: TAEHVConfig) -> Iterator[Sweepable]:
    width, run = config.encoder_width, config.run * config.stride[0]
    yield _conv(config.video_channels, width)
    yield ReLU()
    for in_time in config.downsample:
        frames = 2 if in_time else 1
        run //= frames
        yield Chain(Conv3d(width, width, t=Window(frames, frames), bias=False))
        yield Conv3d(width, width, h=Window.centred(3, 2), w=Window.centred(3, 2), bias=False)
        yield from (_block(width, run) for _ in range(config.num_blocks))
    yield _conv(width, config.latent_channels)


def _decoder(config: TAEHVConfig) -> Chain:
    lead = config.stride[0] - 1
    return named(
        layers=Chain(*(_super_layers(config) if config.decoder == "super" else _decoder_layers(config))),
        unpatch=DepthToSpace((1, config.patch_size, config.patch_size)),
        trim=unlead(config.run_frames, lead) if config.run else Trim(T, before=lead),
        signed=Scale([2.0] * 3, [-1.0] * 3),
    )


def _decoder_layers(config: TAEHVConfig) -> Iterator[Sweepable]:
    widths, block = config.decoder_widths, _wide_block if config.decoder == "wide" else _block
    yield SoftClamp(_LATENT_LIMIT)
    yield _conv(config.latent_channels, widths[0])
    yield ReLU()
    for dim, dim_out, in_time in zip(widths, widths[1:], config.upsample, strict=False):
        frames = 2 if in_time else 1
        yield from (block(dim) for _ in range(config.num_blocks))
        yield Nearest((1, 2, 2))
        yield Chain(Conv3d(dim, dim * frames, bias=False), DepthToSpace((frames, 1, 1)))
        yield _conv(dim, dim_out, bias=False)
    yield ReLU()
    yield _conv(widths[-1], config.video_channels)


def _super_layers(config: TAEHVConfig) -> Iterator[Sweepable]:
    widths = config.decoder_widths
    yield Conv3d(config.latent_channels, widths[0], bias=False)
    for dim, dim_out, in_time in zip(widths, widths[1:], config.upsample, strict=False):
        frames = 2 if in_time else 1
        yield from (_super_block(dim) for _ in range(config.num_blocks))
        yield _conv(dim, 4 * dim_out)
        yield ReLU()
        yield DepthToSpace((1, 2, 2))
        yield Chain(Conv3d(dim_out, dim_out * frames, bias=False), DepthToSpace((frames, 1, 1)))
    yield _conv(widths[-1], config.video_channels)


def _super_block(dim: int) -> Residual:
    """A wide convolution of each channel of this frame and the one before, then two pointwise ones."""
    wide = Window.centred(7)
    return Residual(
        Chain(
            Concat(Chain(), Pad(T, 1, -1, "zeros")),
            Chain(
                Conv3d(2 * dim, 2 * dim, h=wide, w=wide, groups=2 * dim, bias=False),
                Conv3d(2 * dim, 4 * dim),
                ReLU(),
                Conv3d(4 * dim, dim, bias=False),
            ),
        )
    )


def _block(dim: int, run: int = 0) -> Chain:
    """Three convolutions beside the identity; the first sees the frame before as well, if it is of the same run."""
    past = Conv3d(dim, dim, t=Window.causal(2), h=Window.centred(3), w=Window.centred(3))
    first = Afresh(past, run) if run else past
    return Chain(Residual(Chain(first, ReLU(), _conv(dim, dim), ReLU(), _conv(dim, dim))), ReLU())


def _wide_block(dim: int) -> Chain:
    """Two pointwise convolutions, of which the first also sees the frame before, and two of 64 channels at a time."""
    groups = max(1, dim // 64)
    parts = [
        Conv3d(dim, dim, t=Window.causal(2)),
        _conv(dim, dim, groups=groups),
        Conv3d(dim, dim),
        _conv(dim, dim, groups=groups),
    ]
    return Chain(Residual(Chain(*[layer for part in parts for layer in (part, ReLU())][:-1])), ReLU())


def _conv(dim_in: int, dim_out: int, *, groups: int = 1, bias: bool = True) -> Conv3d:
    return Conv3d(dim_in, dim_out, h=Window.centred(3), w=Window.centred(3), groups=groups, bias=bias)
