"""LeanVAE (Cheng and Yuan, arXiv:2503.14325): wavelet tokens, depthwise convolutions, compressed sensing.

Each layer is a causal depthwise convolution and a gated feed-forward of each position. Latents are measurements
`y = phi x` of the encoder's features; the decoder recovers `x` by a few unrolled steps of iterative shrinkage: down the
gradient of `|phi x - y|^2`, a change of basis, a soft threshold, and the way back. Upstream's temporal tiles keep what
convolutions need and equal the whole clip that this is. `phi` is kept in every place that uses it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vidlatent.autoencoders.base import Trees
from vidlatent.autoencoders.lean_vae.patches import STRIDE, patch, unpatch
from vidlatent.autoencoders.spec import LatentSpec
from vidlatent.autoencoders.upstream import Upstream
from vidlatent.errors import ModelError
from vidlatent.nn import Chain, Concat, Conv3d, Fit, LayerNorm, Residual, named
from vidlatent.nn.channels import TakeChannels
from vidlatent.nn.geglu import GatedGELU, SoftThreshold
from vidlatent.streaming import Pointwise, Sweepable, Window

_EPS = 1e-5


@dataclass(frozen=True)
class LeanVAEConfig:
    """Widths and depths; the defaults are the published model with 16 channels.

    Sums of wavelets go through `apart_layers` at `low` channels, differences at `high`, and both together through
    `joint_layers`. The bottleneck takes `steps` of recovery, with `step_layers` before and behind each threshold.
    Raises `ModelError` for numbers below 1.
    """

    latent_channels: int = 16
    low: int = 128
    high: int = 384
    apart_layers: int = 2
    joint_layers: int = 4
    steps: int = 2
    step_layers: int = 2

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 1:
            raise ModelError(f"all numbers must be at least 1, got {self}")

    @property
    def spec(self) -> LatentSpec:
        """The latent grid."""
        return LatentSpec(self.latent_channels, STRIDE, "single")


def build(config: LeanVAEConfig) -> Trees:
    """Both trees, with random weights."""
    upstream = Upstream(chunks_equal=True)
    return Trees(_encoder(config), _decoder(config), config.spec, has_logvar=True, upstream=upstream)


def _encoder(config: LeanVAEConfig) -> Chain:
    width, channels = config.low + config.high, config.latent_channels
    return named(
        fit=Fit(STRIDE, single_first=True),
        patch=patch(config.low, config.high),
        apart=_apart(config),
        joint=_layers(width, config.joint_layers, residual=True),
        moments=Concat(Conv3d(width, channels, bias=False), Conv3d(width, channels)),
    )


def _decoder(config: LeanVAEConfig) -> Chain:
    width, channels = config.low + config.high, config.latent_channels
    return named(
        start=Concat(Conv3d(channels, width, bias=False), Chain()),
        steps=Chain(*(_recover(width, config) for _ in range(config.steps))),
        take=TakeChannels(range(width)),
        joint=_layers(width, config.joint_layers, residual=True),
        apart=_apart(config),
        unpatch=unpatch(config.low, config.high),
    )


def _apart(config: LeanVAEConfig) -> Concat:
    low, high = range(config.low), range(config.low, config.low + config.high)
    branches = [
        Chain(TakeChannels(part), _layers(len(part), config.apart_layers, residual=True)) for part in (low, high)
    ]
    return Concat(*branches)


def _recover(width: int, config: LeanVAEConfig) -> Chain:
    """One step of recovery, the measurements beside it."""
    features, measured = range(width), range(width, width + config.latent_channels)
    proximal = named(
        take=TakeChannels(features),
        there=_layers(width, config.step_layers, residual=False),
        threshold=SoftThreshold(),
        back=_layers(width, config.step_layers, residual=False),
    )
    changed = Residual(proximal, TakeChannels(features))
    return named(descend=Descend(config.latent_channels, width), change=Concat(changed, TakeChannels(measured)))


def _layers(width: int, count: int, *, residual: bool) -> Chain:
    """Depthwise convolutions and feed-forward layers in turn, each added to its input or in its place."""
    inner, edges = int(4 * (2 / 3) * width), Window.centred(3)
    parts: list[Sweepable] = []
    for _ in range(count):
        forward = Chain(
            LayerNorm(width, eps=_EPS),
            Conv3d(width, 2 * inner, bias=False),
            GatedGELU(),
            Conv3d(inner, width, bias=False),
        )
        parts += [Conv3d(width, width, t=Window.causal(3), h=edges, w=edges, groups=width), forward]
    return Chain(*(Residual(part) for part in parts)) if residual else Chain(*parts)


class Descend(Pointwise):
    """`x - weight * phi^T (phi x - y)`; channels are `x`, then `y`, which comes out as it is."""

    def __init__(self, measurements: int, features: int) -> None:
        super().__init__()
        self.phi = nn.Parameter(torch.empty(measurements, features))
        nn.init.normal_(self.phi, std=features**-0.5)
        self.weight = nn.Parameter(torch.empty(()))
        nn.init.ones_(self.weight)

    def apply_to(self, x: Tensor) -> Tensor:
        rows = x.permute(0, 2, 3, 4, 1)
        features, measured = rows.split([self.phi.shape[1], self.phi.shape[0]], -1)
        changed = features - self.weight * ((features @ self.phi.T - measured) @ self.phi)
        return torch.cat([changed, measured], -1).permute(0, 4, 1, 2, 3)
