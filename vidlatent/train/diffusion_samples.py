"""A look at what a model generates while it is trained."""

from __future__ import annotations

from pathlib import Path

import torch

from vidlatent.autoencoders import Autoencoder
from vidlatent.diffusion.dit import VideoDiT
from vidlatent.diffusion.provenance import Provenance
from vidlatent.diffusion.rollout import rollout
from vidlatent.diffusion.schedule import Schedule
from vidlatent.io import write_video

_CLIPS, _STEPS = 4, 16


def write_samples(dit: VideoDiT, ae: Autoencoder, folder: Path, *, num_frames: int) -> None:
    """Write a few clips of `num_frames` latent frames into `folder`, side by side in one video, by the same noise."""
    made = Provenance.of(dit)
    _, rows, columns = ae.latent_spec.stride
    size = (made.size[0] // rows, made.size[1] // columns)
    steps = made.steps or _STEPS
    block = dit.config.block if dit.config.causal else None
    schedule = Schedule(steps, block=block, lag=steps, shift=made.shift, levels=made.levels)
    latents = list(
        rollout(
            dit, schedule=schedule, num_frames=num_frames, size=size, batch=_CLIPS, context_noise=made.context_noise
        )
    )
    video = ae.decode(made.denormalize(torch.cat(latents, 2)))
    folder.mkdir(parents=True, exist_ok=True)
    write_video(folder / "samples.mp4", torch.cat(list(video.split(1)), 4), fps=made.fps)
