"""The flow-matching loss, of frames at noise levels of their own.

z_t = (1 - t) z_0 + t eps,   v = eps - z_0
L = mean_i w(t_i) (|| v_hat_i - v_i ||^2 + c (1 - cos(v_hat_i, v_i)))
min-SNR (arXiv:2303.09556)   w = t^2 min(SNR, gamma),  SNR = ((1 - t) / t)^2:  min(SNR, gamma) on the error of z_0
learned uncertainty (EDM2, arXiv:2312.02696)   L_i / exp(u(t_i)) + u(t_i)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidlatent.diffusion.after_clean import AfterClean
from vidlatent.diffusion.context import Context
from vidlatent.diffusion.embeddings import TimeEmbedding
from vidlatent.diffusion.masks import Causal, Predicate
from vidlatent.diffusion.noise import interpolate, noise_like

Weight = Callable[[Tensor], Tensor]
"""Weight of a frame's loss by its noise level."""


class Velocity(Protocol):
    """What has a velocity at noise levels `t` `(B, t)`: a `VideoDiT`, or anything called like it."""

    def __call__(self, z: Tensor, t: Tensor, context: Context | None = None, /, **options: Any) -> Tensor: ...


def min_snr(gamma: float = 5.0) -> Weight:
    """min(SNR, gamma) on the error of z_0, which is t times that of the velocity."""
    return lambda t: torch.minimum((1 - t) ** 2, gamma * t**2)


def flow_loss(
    dit: Velocity,
    z0: Tensor,
    t: Tensor,
    context: Context | None = None,
    *,
    noise: Tensor | None = None,
    weight: Weight | None = None,
    uncertainty: LearnedUncertainty | None = None,
    cosine: float = 0.0,
    mask: Predicate | None = None,
    teacher: Causal | None = None,
    context_t: Tensor | None = None,
    shown: Tensor | None = None,
    counted: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Mean flow-matching loss of clean latents `z0` `(B, C, t, h, w)` at levels `t` `(B,)` or `(B, t)`.

    Frames at t = 0 are context and do not count. With `teacher` the model sees the clean clip before the noisy one
    (teacher forcing: twice the frames), each noisy block seeing clean blocks before its own; `context_t` `(B, t)` is
    how noisy that clean half is (default 0). `mask` says who sees whom instead, without `teacher`. `shown` is noised
    in place of `z0`, where `counted` `(B, t)` is False: context that is not as it should be.
    """
    frames = z0.shape[2]
    t = t if t.ndim == 2 else t[:, None].expand(-1, frames)
    noise = noise_like(z0, generator) if noise is None else noise
    z = interpolate(z0 if shown is None else shown, noise, t)
    if teacher is None:
        velocity = dit(z, t, context, mask=mask)
    else:
        after = AfterClean.of(z0, context, teacher, levels=context_t, generator=generator)
        velocity = after.velocity(dit, z, t)
    precise = torch.promote_types(z0.dtype, torch.float32)
    return _mean_loss(velocity.to(precise), (noise - z0).to(precise), t, counted, weight, uncertainty, cosine)


def _mean_loss(
    velocity: Tensor,
    target: Tensor,
    t: Tensor,
    counted: Tensor | None,
    weight: Weight | None,
    uncertainty: LearnedUncertainty | None,
    cosine: float,
) -> Tensor:
    loss = (velocity - target).square().mean((1, 3, 4))
    if cosine:
        loss = loss + cosine * (1 - F.cosine_similarity(velocity, target, dim=1)).mean((2, 3))
    if weight is not None:
        loss = loss * weight(t)
    if uncertainty is not None:
        log_variance = uncertainty(t)
        loss = loss / log_variance.exp() + log_variance
    counts = ((t > 0) if counted is None else (t > 0) & counted).to(loss.dtype)
    return (loss * counts).sum() / counts.sum().clamp(min=1)


class LearnedUncertainty(nn.Module):
    """The expected log of a frame's loss at each noise level, learned beside the model; starts at 0."""

    def __init__(self, dim: int = 64) -> None:
        super().__init__()
        self.time = TimeEmbedding(dim)
        self.to_out = nn.Linear(dim, 1)
        nn.init.zeros_(self.to_out.weight)
        nn.init.zeros_(self.to_out.bias)

    def forward(self, t: Tensor) -> Tensor:
        return self.to_out(F.silu(self.time(t))).squeeze(-1)
