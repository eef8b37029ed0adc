"""A diffusion model to a clip: each latent is decoded and written as it appears, so length costs no memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vidlatent.autoencoders import Autoencoder
from vidlatent.diffusion.dit import VideoDiT
from vidlatent.diffusion.provenance import Provenance
from vidlatent.diffusion.rollout import rollout
from vidlatent.diffusion.samplers import euler
from vidlatent.diffusion.schedule import Schedule
from vidlatent.diffusion.stochastic import renoise
from vidlatent.encode.slabs import Progress, slab_plan
from vidlatent.errors import InputError
from vidlatent.io import VideoWriter, open_video, to_float
from vidlatent.streaming import T

ScheduleName = Literal["autoregressive", "pyramid", "fifo", "full"]
DEFAULT_STEPS = 16


@dataclass(frozen=True)
class Sampling:
    """How latents are sampled.

    autoregressive  a block of frames starts when the one before is clean.
    pyramid         blocks in flight together, each a quarter of the steps behind the one before.
    fifo            one step apart: one frame is finished in every pass.
    full            all frames together: memory grows with their number.

    `steps` None is what the model was distilled to, or 16. Finished frames are shown at the level
    `context_noise`, and the first `sinks` of them for good; None is as in training.
    """

    schedule: ScheduleName = "autoregressive"
    steps: int | None = None
    seed: int = 0
    context_noise: float | None = None
    sinks: int | None = None

    def matrix(self, dit: VideoDiT, made: Provenance) -> Schedule:
        """The schedule. Raises `InputError` for a number of steps that this model was not distilled to."""
        steps = self.steps or made.steps or DEFAULT_STEPS
        if made.steps is not None and steps != made.steps:
            raise InputError(f"steps={steps}: this model was distilled to {made.steps} steps")
        block: int | None = dit.config.block if dit.config.causal else 1
        lag = {"autoregressive": steps, "pyramid": max(1, steps // 4), "fifo": 1, "full": steps}[self.schedule]
        if self.schedule == "full":
            block = None
        return Schedule(steps, block=block, lag=lag, shift=made.shift, levels=made.levels)


def generate_clip(
    dit: VideoDiT,
    ae: Autoencoder,
    out_path: str | os.PathLike[str],
    *,
    num_frames: int,
    sampling: Sampling | None = None,
    prompt: str | os.PathLike[str] | None = None,
    memory: int | str | None = None,
    progress: Progress | None = None,
) -> int:
    """Generate a video file of `num_frames` frames, which appears whole or not at all; returns that number.

    Args:
        dit: A model that records what it was trained on; see `Provenance`.
        ae: The autoencoder of its latents.
        out_path: The video; an existing one is replaced at the end.
        num_frames: Frames to generate.
        sampling: How; by default block after block.
        prompt: A clip or picture to go on from; the video begins with the frame after it.
        memory: Budget of the decoder in bytes or as "2GiB".
        progress: Called as frames are written.

    Raises:
        ModelError: The autoencoder is not that of the model's latents.
        InputError: A number is not allowed.
        VideoError: The prompt cannot be read, or the video cannot be written.
    """
    made = Provenance.of(dit)
    made.check(ae.fingerprint, name=f"the autoencoder given ({ae.family})")
    if num_frames < 1:
        raise InputError(f"num_frames={num_frames}: at least 1")
    given = None if prompt is None else encode_prompt(prompt, dit, ae, made)
    latents = generated(dit, made, ae, num_frames=num_frames, sampling=sampling or Sampling(), prompt=given)
    with VideoWriter(out_path, fps=Fraction(made.fps).limit_denominator(1001)) as writer:
        for frames in decoded(latents, given, ae, made, num_frames=num_frames, memory=memory):
            writer.write(frames)
            if progress:
                progress(writer.num_frames, num_frames)
    return num_frames


def generated(
    dit: VideoDiT, made: Provenance, ae: Autoencoder, *, num_frames: int, sampling: Sampling, prompt: Tensor | None
) -> Iterator[Tensor]:
    """Raw latents (1, C, n, h, w) as they become clean, as many as the frames need that follow the prompt."""
    spec, before = ae.latent_spec, 0 if prompt is None else prompt.shape[2]
    total = spec.num_latent_frames(num_frames + (spec.num_frames(before) if before else 0))
    schedule = sampling.matrix(dit, made)
    stream = rollout(
        dit,
        schedule=schedule,
        num_frames=total - before,
        size=spec.latent_size(*made.size),
        prompt=None if prompt is None else made.normalize(prompt),
        sampler=euler if made.levels is None else renoise,
        window=None if dit.config.causal or schedule.block is None else made.frames - 1,
        sinks=sampling.sinks,
        context_noise=made.context_noise if sampling.context_noise is None else sampling.context_noise,
        seed=sampling.seed,
    )
    return (made.denormalize(latents) for latents in stream)


def decoded(
    latents: Iterator[Tensor],
    prompt: Tensor | None,
    ae: Autoencoder,
    made: Provenance,
    *,
    num_frames: int,
    memory: int | str | None,
) -> Iterator[Tensor]:
    """Frames (1, 3, T, H, W) as they are complete; those of the prompt are decoded first, and left out."""
    plan = slab_plan(ae, "decode", made.size, memory)
    skip = 0 if prompt is None else ae.latent_spec.num_frames(prompt.shape[2])
    with ae.stream_decoder(plan=plan, size=made.size) as decoder:
        yield from decoder.frames(chain([] if prompt is None else [prompt], latents), num_frames, skip=skip)


@torch.no_grad()
def encode_prompt(path: str | os.PathLike[str], dit: VideoDiT, ae: Autoencoder, made: Provenance) -> Tensor:
    """Raw latents (1, C, n, h, w) of a clip's end: as many as the model saw at once, complete ones only.

    The clip is brought to the size and rate of the training clips, and read in constant memory.
    """
    spec = ae.latent_spec
    plan = slab_plan(ae, "encode", made.size, None)
    config = dit.config
    most = config.sinks + config.window if config.causal and config.window else made.frames - 1
    tail, frames = None, 0
    fps = Fraction(made.fps).limit_denominator(1001)
    with (
        open_video(Path(path), size=made.size, fps=fps, chunk_frames=plan.chunk) as video,
        ae.stream_encoder(plan=plan) as encoder,
    ):
        for clip in video:
            slab = to_float(clip.frames).to(next(ae.parameters()).device)
            frames += slab.shape[T]
            tail = _joined(tail, encoder.push(slab))
            tail = tail[:, :, max(0, tail.shape[2] - most - 1) :]
        tail = _joined(tail, encoder.finish())
    padded = spec.num_frames(spec.num_latent_frames(frames)) > frames  # then the last latent ends in a standstill
    tail = tail[:, : spec.channels, : tail.shape[2] - padded]
    if not tail.shape[2]:
        raise InputError(f"{path}: {frames} frames are fewer than one latent frame of {ae.family} holds")
    return tail[:, :, -most:]


def _joined(held: Tensor | None, new: Tensor) -> Tensor:
    return new if held is None else torch.cat([held, new], 2)
