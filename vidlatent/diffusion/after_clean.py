"""Teacher forcing: a clip's frames denoised all at once, each block after the clean ones before its own.

v = dit([z0 at t_c | z at t])[t..],   both halves at positions 0 .. t-1,   who sees whom: `masks.TeacherForcing`
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vidlatent.diffusion.context import Context
from vidlatent.diffusion.masks import Causal, TeacherForcing
from vidlatent.diffusion.noise import interpolate, noise_like, per_frame


@dataclass(frozen=True)
class AfterClean:
    """The past `(B, C, t, h, w)` at levels `(B, t)` that copies of it are denoised after, and its conditions."""

    past: Tensor
    levels: Tensor
    context: Context | None
    causal: Causal

    @classmethod
    def of(
        cls,
        z0: Tensor,
        context: Context | None,
        causal: Causal,
        *,
        levels: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> AfterClean:
        """A clean clip as the past, noised to `levels` `(B, t)` (None: not at all)."""
        if levels is None or not bool(levels.any()):
            return cls(z0, z0.new_zeros(len(z0), z0.shape[2]), context, causal)
        return cls(interpolate(z0, noise_like(z0, generator), levels), levels, context, causal)

    def velocity(self, dit: Any, z: Tensor, t: Tensor) -> Tensor:
        """Velocity of every frame of `z` at levels `t` `(B, t)`."""
        frames = z.shape[2]
        return dit(
            torch.cat([self.past, z], 2),
            torch.cat([self.levels, t], 1),
            None if self.context is None else self.context.repeat_frames(2),
            mask=TeacherForcing(frames, self.causal),
            positions=torch.arange(frames, device=z.device).repeat(2),
        )[:, :, frames:]

    def clean(self, dit: Any, z: Tensor, t: Tensor) -> Tensor:
        """`x(z, t) = z - t v(z, t)` of every frame."""
        return z - per_frame(t, z) * self.velocity(dit, z, t)
