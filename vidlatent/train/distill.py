"""What the ways to few steps share: a frozen causal teacher, a student that starts as its copy, one measure.

Frames are denoised after a clean past, as a rollout does, by teacher forcing's mask; x(z, t) = z - t v(z, t).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidlatent.diffusion.after_clean import AfterClean
from vidlatent.diffusion.checkpoint import load_model, save_model
from vidlatent.diffusion.context import Context
from vidlatent.diffusion.dit import VideoDiT
from vidlatent.diffusion.provenance import Provenance
from vidlatent.diffusion.samplers import Sampler, euler
from vidlatent.diffusion.stochastic import renoise
from vidlatent.errors import InputError
from vidlatent.train.diffusion_config import DiffusionConfig
from vidlatent.train.diffusion_data import Batch, Latents
from vidlatent.train.diffusion_samples import write_samples
from vidlatent.train.task import Batches, Models

_HELD_OUT = 64


class Distillation:
    """Base of the tasks: `student` is trained, and is what is exported; `levels` are those it is sampled at."""

    def __init__(
        self, config: DiffusionConfig, latents: Latents, *, teacher: Path, start: Path | None, levels: tuple[float, ...]
    ) -> None:
        self.config, self.latents, self.levels = config, latents, levels
        self.teacher = load_teacher(teacher, latents)
        self.student = deepcopy(self.teacher) if start is None else load_teacher(start, latents)
        self.student.requires_grad_(True).train().gradient_checkpointing = config.gradient_checkpointing
        self.context_noise = Provenance.of(self.teacher).context_noise
        sampling = {"steps": len(levels) - 1, "levels": list(levels), "context_noise": self.context_noise}
        self.metadata = latents.metadata | sampling
        self.student.metadata = self.metadata

    def begin(self, stage: int) -> None:
        """All stages are alike."""

    def data(self, stage: int, *, rank: int, world: int) -> Batches:  # noqa: ARG002
        return self.latents.batches(rank, world)

    def read(self, batch: Batch) -> tuple[Tensor, Context | None]:
        """Normalised latents of the first frames of a batch, and their conditions, on the teacher's device."""
        z, context, frames = self.latents.normal(batch), self.latents.context(batch), self.config.frames
        self.teacher.to(z.device)
        return z[:, :, :frames], None if context is None else context.frames(0, frames)

    def after(self, z0: Tensor, context: Context | None) -> AfterClean:
        """Clips as the past of their own frames, as noisy as the teacher is shown one: sinks are not."""
        levels = z0.new_full((len(z0), z0.shape[2]), self.context_noise)
        levels[:, : self.teacher.config.sinks] = 0
        return AfterClean.of(z0, context, self.teacher.config.mask, levels=levels)

    def evaluate(self, models: Models, folder: Path | None) -> dict[str, float]:  # noqa: ARG002
        """Energy distance of clips made in the student's few steps from held-out ones, and of the teacher's in as many.

        Every frame is made after the clean past of the held-out clip.
        """
        batch, metrics = self.latents.held_out(_HELD_OUT), {}
        if batch is not None:
            batch = {name: value.to(next(self.student.parameters()).device) for name, value in batch.items()}
            z0, context = self.read(batch)
            noise = torch.randn(z0.shape, generator=torch.Generator().manual_seed(0)).to(z0)
            after = self.after(z0, context)
            for name, model, sampler in (("student", self.student, renoise), ("teacher", self.teacher, euler)):
                made = sampled(model, noise, self.levels, after, sampler)
                metrics[f"{name}_distance"] = energy_distance(made.flatten(1), z0.flatten(1))
        if folder is not None and self.config.sample_frames:
            write_samples(self.student, self.latents.autoencoder(), folder, num_frames=self.config.sample_frames)
        return metrics

    def export(self, weights: Mapping[str, Mapping[str, Tensor]], path: Path) -> None:
        save_model(self.student, path.with_suffix(".safetensors"), metadata=self.metadata, weights=weights["student"])


def load_teacher(path: Path, latents: Latents) -> VideoDiT:
    """A frozen causal model of the same autoencoder's latents. Raises `InputError` or `ModelError` where it is not."""
    dit = load_model(path)
    if not dit.config.causal:
        raise InputError(f"{path}: frames see later ones; few-step rollouts are distilled from causal models")
    latents.scale_as(dit, path=path)
    return dit.requires_grad_(False).eval()


@torch.no_grad()
def sampled(dit: VideoDiT, noise: Tensor, levels: Any, after: AfterClean, sampler: Sampler) -> Tensor:
    """Every frame from noise through `levels` (climbing from 0 to 1), each after the clean frames before it."""
    generator, z = torch.Generator().manual_seed(1), noise

    def predict(z: Tensor, t: Tensor) -> Tensor:
        return after.velocity(dit, z, t)

    for high, low in zip(levels[:0:-1], levels[-2::-1], strict=True):
        t, t_next = (z.new_full((len(z), z.shape[2]), level) for level in (high, low))
        z, _ = sampler(predict, z, t, t_next, None, generator=generator)
    return z


def energy_distance(first: Tensor, second: Tensor) -> float:
    """2 E|x - y| - E|x - x'| - E|y - y'| of samples (N, D) and (M, D), without the pairs of a sample with itself."""
    n, m = len(first), len(second)
    within = torch.cdist(first, first).sum() / (n * (n - 1)) + torch.cdist(second, second).sum() / (m * (m - 1))
    return float(2 * torch.cdist(first, second).mean() - within)
