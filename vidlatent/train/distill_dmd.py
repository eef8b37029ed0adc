"""Distribution matching distillation on the student's own rollouts (DMD, arXiv:2311.18828; Self Forcing, 2506.08009).

    X = rollout of the student, block after block, with its own frames as the past and gradients through the last step
    X_t = (1 - t) X + t eps;   real, fake = x(X_t, t) by the teacher and by the critic
    g = (fake - real) / mean|X - real|,   L_student = 1/2 || X - stopgrad(X - g) ||^2
    L_critic = flow matching on stopgrad(X)

The critic learns what the student makes; the difference of both is the gradient of KL(student || teacher).
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from vidlatent.diffusion.context import Context
from vidlatent.diffusion.noise import interpolate, per_frame
from vidlatent.diffusion.objective import flow_loss
from vidlatent.diffusion.times import shift
from vidlatent.train.diffusion_config import DiffusionConfig, DistributionMethod
from vidlatent.train.diffusion_data import Latents
from vidlatent.train.distill import Distillation
from vidlatent.train.task import Loss, Models, Part

_LEAST, _MOST = 0.02, 0.98  # noise levels at which both are asked


def make_task(config: DiffusionConfig, latents: Latents) -> DistributionMatching:
    """See `diffusion.METHODS`."""
    return DistributionMatching(config, latents)


class DistributionMatching(Distillation):
    """A `Task`: the critic in every step, the student in every `critic_updates`-th."""

    def __init__(self, config: DiffusionConfig, latents: Latents) -> None:
        assert isinstance(config.method, DistributionMethod)
        method = self.method = config.method
        super().__init__(config, latents, teacher=method.teacher, start=method.student, levels=method.levels)
        self.critic = deepcopy(self.teacher).requires_grad_(True).train()

    def parts(self) -> dict[str, Part]:
        return {
            "student": Part(self.student, self.config.optimizer, averaged=True),
            "critic": Part(self.critic, self.method.critic),
        }

    def step(self, models: Models, batch: Any, step: int) -> Iterator[Loss]:
        z0, context = self.read(batch)
        if step % self.method.critic_updates == 0:
            clip = self.rollout(models["student"], torch.randn_like(z0), context)
            yield Loss("student", self._student_loss(models["critic"], clip, context))
        with torch.no_grad():
            clip = self.rollout(models["student"], torch.randn_like(z0), context)
        yield Loss("critic", flow_loss(models["critic"], clip, self._times(clip), context))

    def rollout(self, student: Any, noise: Tensor, context: Context | None) -> Tensor:
        """A clip that the student makes from `noise` (B, C, t, h, w), with gradients through one step of each block.

        That step is drawn anew for each clip, the same for all blocks: so all steps are learned, at the cost of one.
        """
        levels, block, cache = self.levels[:0:-1], self.student.config.block, self.student.new_cache()
        last, clean = int(torch.randint(len(levels), ())), []
        for start in range(0, noise.shape[2], block):
            z = noise[:, :, start : start + block]
            part = None if context is None else context.frames(start, start + block)
            for index in range(last + 1):
                t = z.new_full((len(z), z.shape[2]), levels[index])
                with torch.set_grad_enabled(torch.is_grad_enabled() and index == last):
                    x = z - per_frame(t, z) * student(z, t, part, cache=cache)
                if index < last:
                    z = torch.lerp(x, torch.randn_like(x), levels[index + 1])
            clean.append(x)
            with torch.no_grad():
                student(x.detach(), torch.zeros_like(t), part, cache=cache, commit=True)
        return torch.cat(clean, 2)

    def _student_loss(self, critic: Any, clip: Tensor, context: Context | None) -> Tensor:
        with torch.no_grad():
            t = self._times(clip)
            z = interpolate(clip, torch.randn_like(clip), t)
            real, fake = (z - per_frame(t, z) * model(z, t, context) for model in (self.teacher, critic))
            scale = (clip - real).abs().mean((1, 2, 3, 4), keepdim=True).clamp_min(1e-6)
            target = clip - (fake - real) / scale
        return 0.5 * (clip - target).square().mean()

    def _times(self, clip: Tensor) -> Tensor:
        """One level for all frames of a clip."""
        t = shift(torch.rand(len(clip), 1), self.method.shift).clamp(_LEAST, _MOST)
        return t.expand(-1, clip.shape[2]).to(clip)
