"""Sampling of distilled models: each step answers with a clean frame, which is noised anew to the next level.

x = z - t v(z, t),   z' = (1 - t') x + t' xi,   xi ~ N(0, 1)                      (multistep consistency sampling)
"""

from __future__ import annotations

import torch
from torch import Tensor

from vidlatent.diffusion.noise import noise_like
from vidlatent.diffusion.objective import per_frame
from vidlatent.diffusion.samplers import Past, Predict


def renoise(
    predict: Predict,
    z: Tensor,
    t: Tensor,
    t_next: Tensor,
    past: Past | None = None,  # noqa: ARG001
    *,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Past]:
    """A `Sampler` of models that were distilled to few steps; see the module."""
    clean = z - per_frame(t, z) * predict(z, t)
    ahead = torch.lerp(clean, noise_like(z, generator), per_frame(t_next, z))
    return torch.where(per_frame(t_next < t, z) > 0, ahead, z), Past()
