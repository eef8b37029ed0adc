"""Causal consistency distillation: one model maps every point of the teacher's path to the path's end.

    z_t = (1 - t) z_0 + t eps,   z_s = z_t - (t - s) v_teacher(z_t, t),   s the grid's next time below t
    L = || x(z_t, t) - stopgrad x(z_s, s) ||^2,   x(z, t) = z - t v(z, t),   so x(z, 0) = z

Every frame is noised alike and denoised after its clean past (teacher forcing), as in Causal-Forcing. The target is the
student itself, without an average (arXiv:2310.14189, section 3.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from vidlatent.diffusion.noise import interpolate, per_frame
from vidlatent.diffusion.times import time_grid
from vidlatent.train.diffusion_config import ConsistencyMethod, DiffusionConfig
from vidlatent.train.diffusion_data import Latents
from vidlatent.train.diffusion_past import set_apart
from vidlatent.train.distill import Distillation
from vidlatent.train.task import Loss, Models, Part


def make_task(config: DiffusionConfig, latents: Latents) -> ConsistencyDistillation:
    """See `diffusion.METHODS`."""
    return ConsistencyDistillation(config, latents)


class ConsistencyDistillation(Distillation):
    """A `Task`: the student alone."""

    def __init__(self, config: DiffusionConfig, latents: Latents) -> None:
        assert isinstance(config.method, ConsistencyMethod)
        method = self.method = config.method
        super().__init__(config, latents, teacher=method.teacher, start=None, levels=method.levels)
        self.grid = time_grid(method.grid, shift_by=method.shift).float()

    def parts(self) -> dict[str, Part]:
        return {"student": Part(self.student, self.config.optimizer, averaged=True)}

    def step(self, models: Models, batch: Any, step: int) -> Iterator[Loss]:  # noqa: ARG002
        z0, context = self.latents.normal(batch), self.latents.context(batch)
        z0, context, given = set_apart(z0, context, frames=self.config.frames, sinks=self.student.config.sinks)
        self.teacher.to(z0.device)
        index = torch.randint(1, len(self.grid), (len(z0), 1)).expand(-1, z0.shape[2])
        t, s = self.grid[index].to(z0), self.grid[index - 1].to(z0)
        z, after, student = interpolate(z0, torch.randn_like(z0), t), self.after(z0, context), models["student"]
        with torch.no_grad():
            nearer = z - per_frame(t - s, z) * after.velocity(self.teacher, z, t)
            target = after.clean(student, nearer, s)
        loss = (after.clean(student, z, t) - target).square().mean((1, 3, 4))
        yield Loss("student", loss.masked_fill(given, 0).sum() / (~given).sum())
