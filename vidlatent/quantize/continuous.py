"""Continuous bottlenecks: nothing at all, and the Gaussian of a variational autoencoder."""

from __future__ import annotations

import torch
from torch import Tensor

from vidlatent.quantize.bottleneck import Bottled, Bottleneck

LOGVAR_RANGE = (-30.0, 20.0)


class Identity(Bottleneck):
    """Latents are what the encoder gives."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.in_channels = self.channels = self.out_channels = channels

    def forward(self, x: Tensor, sweep: object = None) -> Tensor:  # noqa: ARG002
        return x

    def bottle(self, x: Tensor) -> Bottled:
        return Bottled(x)


class Gaussian(Bottleneck):
    """Mean and log-variance in, `z = mean + exp(logvar / 2) * noise` out of `bottle` (Kingma & Welling, 1312.6114).

    The term "kl" is in nats per clip: `sum 0.5 (mean^2 + e^logvar - 1 - logvar)`, where each channel counts for at
    least `free_nats` per latent position on average (free bits, Kingma et al., arXiv:1606.04934, eq. 15).
    `forward` leaves the moments as they are: `Autoencoder` makes a `Posterior` of them.
    """

    def __init__(self, channels: int, *, free_nats: float = 0.0) -> None:
        super().__init__()
        self.in_channels, self.channels, self.out_channels = 2 * channels, channels, channels
        self.free_nats = free_nats

    def forward(self, x: Tensor, sweep: object = None) -> Tensor:  # noqa: ARG002
        return x

    def bottle(self, x: Tensor) -> Bottled:
        mean, logvar = x.chunk(2, 1)
        logvar = logvar.float().clamp(*LOGVAR_RANGE)
        kl = 0.5 * (mean.float().square() + logvar.exp() - 1 - logvar)
        by_channel = kl.mean((0, 2, 3, 4)).clamp_min(self.free_nats)
        nats = by_channel.sum() * kl[0, 0].numel()
        z = mean + torch.exp(0.5 * logvar).to(mean.dtype) * torch.randn_like(mean)
        return Bottled(z, {"kl": nats})
