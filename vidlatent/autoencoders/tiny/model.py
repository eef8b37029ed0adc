"""vidlatent-tiny: a small causal autoencoder for CPUs, 4x8x8 with 16 channels.

Every layer works at a quarter of the frame rate and at most at a quarter of the resolution, on patches of 4x4x4 and
4x8x8 pixels; there is no norm over positions and no attention, so slabs of any thickness cost what the clip costs.
A linear path runs beside the network in both directions: it starts as the optimal linear code (PCA) of 4x8x8 patches,
and the network learns what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.nn import (
    Chain,
    Conv3d,
    DepthToSpace,
    Fit,
    Haar,
    InverseHaar,
    LayerNorm,
    Residual,
    SiLU,
    SpaceToDepth,
    Trim,
)
from vidlatent.streaming import T, Window

STRIDE = (4, 8, 8)
_FINE, _COARSE = (4, 4, 4), (1, 2, 2)


@dataclass(frozen=True)
class TinyConfig:
    """Widths and depths at the fine grid (4x4x4 patches) and at the latent grid, of encoder and decoder.

    `mean` and `std` are the latents' statistics over the training clips.
    """

    latent_channels: int = 16
    encoder_widths: tuple[int, int] = (64, 160)
    encoder_blocks: tuple[int, int] = (1, 2)
    decoder_widths: tuple[int, int] = (96, 192)
    decoder_blocks: tuple[int, int] = (2, 3)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def build(config: TinyConfig) -> Trees:
    """Both trees, with random weights; the linear paths are `encoder[1].shortcut[1]` and `decoder[0].shortcut[0]`."""
    spec = LatentSpec(config.latent_channels, STRIDE, "single", config.mean, config.std)
    return Trees(_encoder(config), _decoder(config), spec, has_logvar=False)


def _encoder(config: TinyConfig) -> Chain:
    fine, coarse = config.encoder_widths
    body = Chain(
        Haar(_FINE, before=_FINE[0] - 1),
        Conv3d(3 * 64, fine),
        *(_block(fine) for _ in range(config.encoder_blocks[0])),
        SpaceToDepth(_COARSE),
        Conv3d(4 * fine, coarse),
        *(_block(coarse) for _ in range(config.encoder_blocks[1])),
        LayerNorm(coarse),
        SiLU(),
        at_nothing(Conv3d(coarse, config.latent_channels)),
    )
    linear = Chain(SpaceToDepth(STRIDE, before=STRIDE[0] - 1), Conv3d(3 * 256, config.latent_channels))
    return Chain(Fit(STRIDE, single_first=True), Residual(body, linear))


def _decoder(config: TinyConfig) -> Chain:
    fine, coarse = config.decoder_widths
    body = Chain(
        Conv3d(config.latent_channels, coarse, h=Window.centred(3), w=Window.centred(3)),
        *(_block(coarse) for _ in range(config.decoder_blocks[1])),
        Conv3d(coarse, 4 * fine),
        DepthToSpace(_COARSE),
        *(_block(fine) for _ in range(config.decoder_blocks[0])),
        LayerNorm(fine),
        SiLU(),
        at_nothing(Conv3d(fine, 3 * 64, h=Window.centred(3), w=Window.centred(3))),
        InverseHaar(_FINE),
    )
    linear = Chain(Conv3d(config.latent_channels, 3 * 256), DepthToSpace(STRIDE))
    return Chain(Residual(body, linear), Trim(T, before=STRIDE[0] - 1))


def _block(width: int) -> Residual:
    """Space, then time: a 3x3 convolution in the frame and a causal one of 3 frames."""
    return Residual(
        Chain(
            LayerNorm(width),
            Conv3d(width, width, h=Window.centred(3), w=Window.centred(3)),
            SiLU(),
            Conv3d(width, width, t=Window.causal(3, mode="replicate")),
        )
    )


def at_nothing(conv: Conv3d) -> Conv3d:
    """Start a branch at nothing, so that the linear path beside it is the whole answer."""
    nn.init.zeros_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
