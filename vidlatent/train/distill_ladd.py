"""Latent adversarial diffusion distillation (LADD, arXiv:2403.12015): a discriminator on the teacher's own features.

    x = x_student(z_t, t) after the clean past,   t one of the levels it will be sampled at
    real and made clips are noised to s, and heads D_k read the teacher's tokens behind block k:
    L_heads   = mean_k relu(1 - D_k(real)) + relu(1 + D_k(x)) + gamma |grad D_k(real)|^2
    L_student = -mean_k D_k(x)

The teacher is the backbone, so the discriminator needs no pixels and knows noise levels; only the heads are learned.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vidlatent.diffusion.context import Context
from vidlatent.diffusion.dit import VideoDiT
from vidlatent.diffusion.noise import interpolate
from vidlatent.diffusion.times import logit_normal, sample_times
from vidlatent.train.diffusion_config import AdversarialMethod, DiffusionConfig
from vidlatent.train.diffusion_data import Latents
from vidlatent.train.distill import Distillation
from vidlatent.train.task import Loss, Models, Part


def make_task(config: DiffusionConfig, latents: Latents) -> AdversarialDistillation:
    """See `diffusion.METHODS`."""
    return AdversarialDistillation(config, latents)


class Heads(nn.Module):
    """One small network a block, from its tokens (B, t, n, D) to a verdict on each (B, t, n)."""

    def __init__(self, depth: int, dim: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, 1)) for _ in range(depth)
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return [head(tokens)[..., 0] for head, tokens in zip(self.heads, features, strict=True)]


class AdversarialDistillation(Distillation):
    """A `Task`: the heads, then the student, in every step."""

    def __init__(self, config: DiffusionConfig, latents: Latents) -> None:
        assert isinstance(config.method, AdversarialMethod)
        method = self.method = config.method
        super().__init__(config, latents, teacher=method.teacher, start=method.student, levels=method.levels)
        torch.manual_seed(config.seed)
        self.heads = Heads(self.teacher.config.depth, self.teacher.config.dim)
        self.draw = logit_normal(method.noise_mean, 1.0)

    def parts(self) -> dict[str, Part]:
        return {
            "heads": Part(self.heads, self.method.discriminator),
            "student": Part(self.student, self.config.optimizer, averaged=True),
        }

    def step(self, models: Models, batch: Any, step: int) -> Iterator[Loss]:  # noqa: ARG002
        z0, context = self.read(batch)
        made = self._made(models["student"], z0, context)
        yield Loss("heads", self._heads_loss(models["heads"], z0, made.detach(), context))
        verdicts = models["heads"](self._features(made, self._times(made), context))
        yield Loss("student", -torch.stack([verdict.mean() for verdict in verdicts]).mean())

    def _made(self, student: Any, z0: Tensor, context: Context | None) -> Tensor:
        levels = torch.tensor(self.levels[1:])
        t = levels[torch.randint(len(levels), (len(z0), 1))].expand(-1, z0.shape[2]).to(z0)
        z = interpolate(z0, torch.randn_like(z0), t)
        return self.after(z0, context).clean(student, z, t)

    def _heads_loss(self, heads: Any, real: Tensor, made: Tensor, context: Context | None) -> Tensor:
        t = self._times(real)
        with torch.no_grad():
            real_features, made_features = (self._features(clip, t, context) for clip in (real, made))
        real_features = [tokens.requires_grad_(True) for tokens in real_features]
        verdicts = heads(real_features)
        gradients = torch.autograd.grad([v.sum() for v in verdicts], real_features, create_graph=True)
        penalty = torch.stack([gradient.square().sum(-1).mean() for gradient in gradients]).mean()
        hinge = [(1 - v).relu().mean() for v in verdicts] + [(1 + v).relu().mean() for v in heads(made_features)]
        return torch.stack(hinge).sum() / len(verdicts) + self.method.gradient_penalty * penalty

    def _features(self, clip: Tensor, t: Tensor, context: Context | None) -> list[Tensor]:
        with _block_outputs(self.teacher) as features:
            self.teacher(interpolate(clip, torch.randn_like(clip), t), t, context)
        return features

    def _times(self, clip: Tensor) -> Tensor:
        return sample_times(len(clip), clip.shape[2], density=self.draw, shift_by=self.method.shift).to(clip)


@contextmanager
def _block_outputs(dit: VideoDiT) -> Iterator[list[Tensor]]:
    """Gathers what leaves each block of a model while it runs."""
    features: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda _, __, out: features.append(out)) for block in dit.blocks]
    try:
        yield features
    finally:
        for hook in hooks:
            hook.remove()
