"""Entropies of soft assignments: low for each latent, high over all of them, is a codebook that is used.

gap = mean_z H(p(. | z)) - gamma * H(mean_z p(. | z))
"""

from __future__ import annotations

import torch
from torch import Tensor

_SMALLEST = 1e-10


def entropy_gap(probabilities: Tensor, gamma: float = 1.0) -> Tensor:
    """The gap in nats, of probabilities (N, K)."""
    return _entropy(probabilities).mean() - gamma * _entropy(probabilities.mean(0))


def bit_entropy_gap(ones: Tensor, group: int, gamma: float = 1.0) -> Tensor:
    """The gap for codes of independent bits, of the probabilities (N, D) that each is one.

    The entropy of a latent is the sum over its bits. That over all latents is taken jointly within groups of `group`
    bits, and added up over groups: an upper bound that needs 2^group numbers instead of 2^D (arXiv:2406.07548, 3.2).
    """
    each = torch.stack([ones, 1 - ones], -1)
    sure = _entropy(each).sum(-1).mean()
    used = torch.stack([_entropy(_joint(part).mean(0)) for part in each.split(group, 1)]).sum()
    return sure - gamma * used


def _joint(each: Tensor) -> Tensor:
    """Probabilities (N, 2^d) of all codes of independent bits (N, d, 2)."""
    joint = each[:, 0]
    for bit in each.unbind(1)[1:]:
        joint = (joint[:, :, None] * bit[:, None, :]).flatten(1)
    return joint


def _entropy(probabilities: Tensor) -> Tensor:
    return -(probabilities * probabilities.clamp_min(_SMALLEST).log()).sum(-1)
