"""Flow matching from data: full sequences, diffusion forcing, teacher forcing, or a mix of them step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidlatent.diffusion.checkpoint import load_model, save_model
from vidlatent.diffusion.context import Context
from vidlatent.diffusion.dit import VideoDiT
from vidlatent.diffusion.masks import Full
from vidlatent.diffusion.objective import flow_loss
from vidlatent.diffusion.times import logit_normal, mixture, sample_times, uniform
from vidlatent.errors import InputError
from vidlatent.train.diffusion_config import DiffusionConfig, FlowMethod, Mode
from vidlatent.train.diffusion_data import Latents
from vidlatent.train.diffusion_past import fade, set_apart
from vidlatent.train.diffusion_samples import write_samples
from vidlatent.train.task import Batches, Loss, Models, Part

_HELD_OUT = 64


def make_task(config: DiffusionConfig, latents: Latents) -> FlowTask:
    """See `diffusion.METHODS`."""
    return FlowTask(config, latents)


class FlowTask:
    """A `Task`: one model, one loss."""

    def __init__(self, config: DiffusionConfig, latents: Latents) -> None:
        assert isinstance(config.method, FlowMethod)
        self.config, self.latents, self.method = config, latents, config.method
        self.dit = starting_model(config, latents)
        # a rollout shows its own frames at the mean of the levels that training showed
        sampling = {"shift": self.method.shift, "context_noise": self.method.context_noise / 2}
        self.metadata = latents.metadata | sampling
        self.dit.metadata = self.metadata

    def begin(self, stage: int) -> None:
        """All stages are alike."""

    def parts(self) -> dict[str, Part]:
        return {"dit": Part(self.dit, self.config.optimizer, averaged=True)}

    def data(self, stage: int, *, rank: int, world: int) -> Batches:  # noqa: ARG002
        return self.latents.batches(rank, world)

    def step(self, models: Models, batch: Any, step: int) -> Iterator[Loss]:  # noqa: ARG002
        modes = list(self.method.modes)
        weights = torch.tensor([self.method.modes[mode] for mode in modes])
        mode = modes[int(torch.multinomial(weights, 1))]
        context = self.latents.context(batch)
        if context is not None:
            context = context.drop(self.method.drop_context)
        loss = self.loss(models["dit"], self.latents.normal(batch), mode, context)
        yield Loss("dit", loss, {f"dit/{mode}": loss})

    def loss(
        self,
        dit: Any,
        z: Tensor,
        mode: Mode,
        context: Context | None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The loss of normalised latents in one of the modes; z is a whole window, of which `frames` are taken."""
        method, model, b, frames = self.method, self.dit.config, len(z), self.config.frames
        density = mixture(method.uniform_share, uniform, logit_normal())
        if mode == "full":
            t = sample_times(b, frames, density=density, shift_by=method.shift, generator=generator).to(z)
            context = None if context is None else context.frames(0, frames)
            return flow_loss(dit, z[:, :, :frames], t, context, mask=Full(), generator=generator)
        clip = z
        z, context, given = set_apart(clip, context, frames=frames, sinks=model.sinks, generator=generator)
        t = sample_times(b, frames, density=density, block=model.block, shift_by=method.shift, generator=generator).to(
            z
        )
        if mode == "teacher":
            level = method.context_noise * torch.rand(b, 1, generator=generator).to(t).expand(-1, frames)
            t, level = t.masked_fill(given, 0), level.masked_fill(given, 0)
            return flow_loss(dit, z, t, context, teacher=model.mask, context_t=level, generator=generator)
        is_context, level = torch.rand(2, *t.shape, generator=generator).to(t)
        shown, past = fade(z, clip.mean(2, keepdim=True), share=method.faded, sinks=model.sinks, generator=generator)
        is_context = past | (is_context < method.clean)
        t = torch.where(is_context, method.context_noise * level, t).masked_fill(given, 0)
        return flow_loss(dit, z, t, context, mask=model.mask, shown=shown, counted=~past, generator=generator)

    def evaluate(self, models: Models, folder: Path | None) -> dict[str, float]:
        """Loss of every mode on held-out clips, by the same noise each time, and their weighted mean."""
        batch, method, metrics = self.latents.held_out(_HELD_OUT), self.method, {}
        if batch is not None:
            z = self.latents.normal(batch).to(next(self.dit.parameters()).device)
            context = self.latents.context(batch)
            context = None if context is None else context.to(z.device)
            for mode in method.modes:
                generator = torch.Generator().manual_seed(0)
                metrics[f"loss_{mode}"] = float(self.loss(models["dit"], z, mode, context, generator))
            total = sum(method.modes.values())
            metrics["loss"] = sum(weight / total * metrics[f"loss_{mode}"] for mode, weight in method.modes.items())
        if folder is not None and self.config.sample_frames:
            write_samples(self.dit, self.latents.autoencoder(), folder, num_frames=self.config.sample_frames)
        return metrics

    def export(self, weights: Mapping[str, Mapping[str, Tensor]], path: Path) -> None:
        save_model(self.dit, path.with_suffix(".safetensors"), metadata=self.metadata, weights=weights["dit"])


def starting_model(config: DiffusionConfig, latents: Latents) -> VideoDiT:
    """The model that a run from data starts with: `init`, or its own architecture."""
    if config.init is not None:
        dit = load_model(config.init).train()
        latents.scale_as(dit, path=config.init)
    else:
        assert config.model is not None
        torch.manual_seed(config.seed)
        dit = VideoDiT(config.model)
    if dit.config.channels != latents.channels:
        raise InputError(f"model.channels={dit.config.channels}: the latents have {latents.channels} channels")
    dit.gradient_checkpointing = config.gradient_checkpointing
    return dit
