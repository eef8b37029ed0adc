"""A toy for distillation: latents of two channels, one position, that jump around a ring of four places.

The first frame lies at any of the four, each later one a quarter turn on, with a little noise. One Euler step from
noise ends at the mean of all places, which is none of them: what few-step models must not do.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from vidlatent.diffusion.dit import VideoDiTConfig
from vidlatent.train.diffusion_config import DiffusionConfig
from vidlatent.train.diffusion_data import Latents
from vidlatent.train.optimizers import make_optimizer
from vidlatent.train.task import Task

FRAMES, SPREAD = 3, 0.1


def ring_clips(count: int, generator: torch.Generator) -> Tensor:
    """Clips (count, 2, FRAMES, 1, 1)."""
    place = torch.randint(4, (count, 1), generator=generator) + torch.arange(FRAMES)
    angle = place * math.pi / 2
    clean = 1.4 * torch.stack([angle.cos(), angle.sin()], 1)
    return (clean + SPREAD * torch.randn(clean.shape, generator=generator))[..., None, None]


def off_ring(clips: Tensor) -> float:
    """Mean distance of frames from the nearest place."""
    angle = torch.arange(4) * math.pi / 2
    places = 1.4 * torch.stack([angle.cos(), angle.sin()], 1)
    return float(torch.cdist(clips[..., 0, 0].transpose(1, 2).reshape(-1, 2), places).min(1).values.mean())


def places_taken(clips: Tensor) -> set[int]:
    """Which of the four places first frames lie at."""
    first = clips[:, :, 0, 0, 0]
    return set((torch.atan2(first[:, 1], first[:, 0]) / (math.pi / 2)).round().int().remainder(4).tolist())


class RingSource:
    """A `Source` of ring clips."""

    mean, std, size = torch.zeros(2), torch.ones(2), (8, 8)
    autoencoder, fingerprint = "ring", "ring"
    metadata = {}  # noqa: RUF012 - nobody writes to it

    def batches(self, *, rank: int, world: int) -> "RingBatches":
        return RingBatches()

    def held_out(self, count: int) -> dict[str, Tensor]:
        return {"z": ring_clips(count, torch.Generator().manual_seed(1))}


class RingBatches:
    """Endless batches."""

    taken = 0

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        while True:
            self.taken += 1
            yield {"z": ring_clips(32, torch.Generator().manual_seed(self.taken))}


class RingLatents(Latents):
    """The `Latents` of a run on them."""

    def __init__(self, config: DiffusionConfig) -> None:
        self.config, self.source = config, RingSource()
        self.mean, self.std = self.source.mean, self.source.std


def ring_config(
    method: dict[str, object], *, learning_rate: float, out: Path, optimizer: str = "adamw"
) -> DiffusionConfig:
    """A run on the ring by some method."""
    model = VideoDiTConfig(channels=2, dim=32, depth=2, heads=2, patch=1, causal=True, rope_base=10.0)
    return DiffusionConfig(
        out=out,
        model=model,
        data={"source": "world"},
        method=method,
        frames=FRAMES,
        optimizer={"name": optimizer, "learning_rate": learning_rate, "betas": (0.0, 0.99)},
        stages=({"name": "train", "steps": 1},),
    )


def descend(task: Task, steps: int) -> dict[str, list[float]]:
    """Train without the loop: the losses of each part, step by step."""
    parts, losses = task.parts(), {}
    optimizers = {name: make_optimizer(part.module, part.optimizer) for name, part in parts.items()}
    models = {name: part.module for name, part in parts.items()}
    batches = iter(task.data(0, rank=0, world=1))
    for step in range(steps):
        for optimizer in optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] *= 1 if step < steps // 2 else 0.1 ** (2 / steps)
        for loss in task.step(models, next(batches), step):
            trained = list(models[loss.part].parameters())
            gradients = torch.autograd.grad(loss.value, trained, allow_unused=True)
            for weight, gradient in zip(trained, gradients, strict=True):
                weight.grad = gradient
            optimizers[loss.part].step()
            losses.setdefault(loss.part, []).append(float(loss.value.detach()))
    return losses
