"""Adversarial terms: what a discriminator minimises, what the autoencoder does, and how both are kept in balance.

    hinge:           D = mean max(0, 1 - D(x)) + mean max(0, 1 + D(y)),            G = -mean D(y)
    non-saturating:  D = mean softplus(-D(x)) + mean softplus(D(y)),               G = mean softplus(-D(y))
    LeCAM (arXiv:2104.03310):  mean max(0, D(x) - a_y)^2 + mean max(0, a_x - D(y))^2,  a the running means of D
    R1 (arXiv:1801.04406):     1/2 mean |grad_x D(x)|^2
    adaptive weight (VQGAN, arXiv:2012.09841, eq. 7):  |grad_L rec| / (|grad_L G| + 1e-4),  L the decoder's last layer

where x is real, y reconstructed. VQGAN halves both terms of D; so does this.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Kind = Literal["hinge", "non-saturating"]


def discriminator_loss(kind: Kind, real: Tensor, fake: Tensor) -> Tensor:
    """What the discriminator minimises, of its logits."""
    if kind == "hinge":
        return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())
    return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())


def generator_loss(kind: Kind, fake: Tensor) -> Tensor:
    """What the autoencoder minimises, of the discriminator's logits of its reconstruction."""
    return -fake.mean() if kind == "hinge" else F.softplus(-fake).mean()


class LeCam(nn.Module):
    """The LeCAM regulariser with its running means of the logits, which are part of what is stored."""

    means: Tensor

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("means", torch.zeros(2))

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """The term; takes the logits into the running means."""
        now = torch.stack([real.mean(), fake.mean()]).detach()
        self.means.lerp_(now.to(self.means.dtype), 1 - self.decay)
        real_mean, fake_mean = self.means.clone()
        return F.relu(real - fake_mean).square().mean() + F.relu(real_mean - fake).square().mean()


def r1_penalty(logits: Tensor, real: Tensor) -> Tensor:
    """Half the squared gradient of the logits at real clips, which must require gradients."""
    (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return 0.5 * gradient.square().flatten(1).sum(1).mean()


def adaptive_weight(reconstruction: Tensor, generator: Tensor, last_layer: Tensor, most: float = 1e4) -> Tensor:
    """The weight at which both losses pull at the last layer alike."""
    wanted, pulled = (
        torch.autograd.grad(loss, last_layer, retain_graph=True)[0].norm() for loss in (reconstruction, generator)
    )
    return (wanted / (pulled + 1e-4)).clamp(0, most).detach()
