"""What an encoder says of a clip: one latent, or a distribution of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LOGVAR_RANGE = (-30.0, 20.0)
"""Log-variances are clamped to this before anything is made of them."""


@dataclass(frozen=True)
class Posterior:
    """Diagonal Gaussian over latents `(B, C, t, h, w)`; `logvar` is None where the bottleneck is deterministic.

    `num_frames` and `size` (H, W) are the clip's own, before it was fitted to the strides: pass them to `decode`.
    """

    mean: Tensor
    logvar: Tensor | None = None
    num_frames: int | None = None
    size: tuple[int, int] | None = None

    def mode(self) -> Tensor:
        """The most likely latent: the mean."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw `mean + exp(logvar / 2) * noise`; the mean itself where there is no variance."""
        if self.logvar is None:
            return self.mean
        noise = torch.randn(
            self.mean.shape, generator=generator, dtype=self.mean.dtype, device=generator.device if generator else None
        )
        return self.mean + torch.exp(0.5 * self.logvar) * noise.to(self.mean.device)

    def kl(self) -> Tensor:
        """Divergence from the unit Gaussian in nats, summed over everything but the batch: (B,)."""
        if self.logvar is None:
            return torch.zeros(len(self.mean), device=self.mean.device)
        terms = 0.5 * (self.mean.square() + self.logvar.exp() - 1.0 - self.logvar)
        return terms.flatten(1).sum(1)
