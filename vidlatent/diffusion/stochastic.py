"""Samplers that add noise on their way; see `samplers` for how they are called. xi ~ N(0, 1) is fresh in every step.

ancestral        z' = (1 - t') z_0 + sqrt(t'^2 - s^2) eps + s xi,
                 s^2 = eta^2 (t'^2 / t^2) (t^2 - t'^2 (1 - t)^2 / (1 - t')^2)        eta = 1: DDPM, eta = 0: Euler
Euler-Maruyama   z' = z - d (v + churn/2 eps) + sqrt(churn t d) xi,  d = t - t'      dz = v dt - w/2 s dt + sqrt(w) dW
Langevin         z <- z + k s + sqrt(2 k) xi,  s = -eps / t,  k = 2 (r |xi| / |s|)^2     (arXiv:2011.13456)
multistep        z' = (1 - t') x + t' xi,  x = z - t v                               models distilled to few steps
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vidlatent.diffusion.noise import noise_like, per_frame
from vidlatent.diffusion.samplers import Past, Predict, Sampler

Ahead = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""From latents, velocity, fresh noise, and levels t and t' < t that multiply latents, to latents at t'."""


def _sampler(ahead: Ahead) -> Sampler:
    """A `Sampler` of one evaluation a step, without a past."""

    def step(
        predict: Predict,
        z: Tensor,
        t: Tensor,
        t_next: Tensor,
        past: Past | None = None,  # noqa: ARG001
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Past]:
        stays = t_next >= t
        now, then = (per_frame(level.masked_fill(stays, end), z) for level, end in ((t, 1), (t_next, 0)))
        made = ahead(z, predict(z, t), noise_like(z, generator), now, then)
        return torch.where(per_frame(stays, z) > 0, z, made), Past()

    return step


def ancestral(eta: float = 1.0) -> Sampler:
    """DDPM's posterior step in flow coordinates, with a share `eta` of its noise."""

    def ahead(z: Tensor, v: Tensor, noise: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
        variance = (eta * t_next / t) ** 2 * (t**2 - (t_next * (1 - t) / (1 - t_next)) ** 2).clamp(min=0)
        kept = (t_next**2 - variance).clamp(min=0).sqrt()
        return (1 - t_next) * (z - t * v) + kept * (z + (1 - t) * v) + variance.sqrt() * noise

    return _sampler(ahead)


def euler_maruyama(churn: float = 1.0) -> Sampler:
    """The reverse SDE with diffusion w = churn * t; the step to t = 0 is Euler's, without noise."""

    def ahead(z: Tensor, v: Tensor, noise: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
        stirred = torch.where(t_next > 0, churn, 0.0)
        drift = v + stirred / 2 * (z + (1 - t) * v)
        return z - (t - t_next) * drift + (stirred * t * (t - t_next)).sqrt() * noise

    return _sampler(ahead)


renoise: Sampler = _sampler(lambda z, v, noise, t, t_next: torch.lerp(z - t * v, noise, t_next))
"""For models that were distilled to few steps: each answers with a clean frame, which is noised anew."""


def langevin(
    predict: Predict,
    z: Tensor,
    t: Tensor,
    *,
    ratio: float = 0.16,
    rounds: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Annealed Langevin corrector: `rounds` steps at the same levels; clean frames stay. `ratio` is r above."""
    level = per_frame(t, z)
    for _ in range(rounds):
        score = -(z + (1 - level) * predict(z, t)) / level.clamp(min=1e-6)
        kick = noise_like(z, generator)
        size = 2 * (ratio * _norm(kick) / _norm(score).clamp(min=1e-12)) ** 2
        z = torch.where(level > 0, z + size * score + (2 * size).sqrt() * kick, z)
    return z


def corrected(sampler: Sampler, *, ratio: float = 0.16, rounds: int = 1) -> Sampler:
    """A predictor-corrector sampler: `langevin` at each level, then the sampler's step."""

    def step(
        predict: Predict,
        z: Tensor,
        t: Tensor,
        t_next: Tensor,
        past: Past | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Past]:
        stirred = langevin(predict, z, t, ratio=ratio, rounds=rounds, generator=generator)
        z = torch.where(per_frame(t_next < t, z) > 0, stirred, z)
        return sampler(predict, z, t, t_next, past, generator=generator)

    return step


def _norm(x: Tensor) -> Tensor:
    """Length of each frame, `(B, 1, t, 1, 1)`."""
    return x.square().sum((1, 3, 4), keepdim=True).sqrt()
