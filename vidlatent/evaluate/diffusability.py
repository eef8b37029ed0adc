"""How well a tiny diffusion model of fixed budget learns a model's latents: what they will be used for, in small.

A `VideoDiT` is trained by flow matching on crops of two thirds of the clips and tested on the others, at fixed noise
and levels t. Latents have unit variance a channel, and the loss is divided by what is left to who knows no more than
that, a Gaussian of every number by itself:

    loss = mean_t |v_hat - v|^2 / E[var(v | z_t)],   var(v | z_t) = 1 / ((1 - t)^2 + t^2)

1 says that nothing was learned, 0 that everything was. Crops are of equal size in pixels for all candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from vidlatent.diffusion import VideoDiT, VideoDiTConfig, flow_loss, time_grid
from vidlatent.diffusion.samplers import euler
from vidlatent.metrics import RandomFeatures, kernel_distance

STEPS, BATCH, SAMPLES = 1000, 4, 8
_PIXELS, _LATENT_FRAMES, _TOKENS = 128, 5, 8
_LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
_SAMPLER_STEPS = 20
_LEARNING_RATE = 2e-3


def diffusability(
    clips: Sequence[Tensor],
    stride: int,
    decode: Callable[[Tensor], Tensor] | None = None,
    *,
    steps: int = STEPS,
) -> dict[str, float]:
    """`probe_loss` of latents (1, C, t, h, w), one a clip, at least three of them; `stride` is pixels to a latent.

    With `decode`, `probe_sample_distance` too: the kernel distance, in features of random convolutions, between decoded
    samples and decoded crops of the held-out clips.
    """
    held_out, training = clips[::3], [clip for index, clip in enumerate(clips) if index % 3]
    if not training:
        return {}
    mean, std = _statistics(training)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        train = [(clip - mean) / std for clip in training]
        test = _crops([(clip - mean) / std for clip in held_out], stride, SAMPLES)
        dit = _trained(train, stride, steps)
        with torch.no_grad():
            found = {"probe_loss": _loss(dit, test)}
            if decode is not None:
                samples = _samples(dit, test)
                made, real = (RandomFeatures()(_window(decode(z * std + mean))) for z in (samples, test))
                found["probe_sample_distance"] = kernel_distance(made.double(), real.double())
    return found


def _statistics(clips: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    values = torch.cat([clip.transpose(0, 1).flatten(1) for clip in clips], 1)
    shape = (1, -1, 1, 1, 1)
    return values.mean(1).view(shape), values.std(1).clamp_min(1e-6).view(shape)


def _crops(clips: Sequence[Tensor], stride: int, count: int) -> Tensor:
    """Crops (count, C, t, h, w) from random places of clips in turn."""
    side = max(1, _PIXELS // stride)
    most = ((2, _LATENT_FRAMES), (3, side), (4, side))
    size = [min(length, *(clip.shape[axis] for clip in clips)) for axis, length in most]
    crops = []
    for index in range(count):
        crop = clips[index % len(clips)]
        for axis, length in zip((2, 3, 4), size, strict=True):
            # The first latent frame of a clip is of another kind: crops begin with it.
            start = 0 if axis == 2 else int(torch.randint(crop.shape[axis] - length + 1, ()))
            crop = crop.narrow(axis, start, length)
        crops.append(crop)
    return torch.cat(crops)


def _trained(clips: Sequence[Tensor], stride: int, steps: int) -> VideoDiT:
    side = max(1, _PIXELS // stride)
    patch = max(1, side // _TOKENS)
    dit = VideoDiT(VideoDiTConfig(channels=clips[0].shape[1], dim=96, depth=4, heads=3, patch=patch))
    optimizer = torch.optim.AdamW(dit.parameters(), lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
    for _ in range(steps):
        batch = [clips[int(index)] for index in torch.randint(len(clips), (BATCH,))]
        loss = flow_loss(dit, _crops(batch, stride, BATCH), torch.rand(BATCH))
        optimizer.zero_grad()
        loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(dit.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return dit.eval()


def _loss(dit: VideoDiT, latents: Tensor) -> float:
    losses = []
    for level in _LEVELS:
        torch.manual_seed(1)
        loss = flow_loss(dit, latents, torch.full((len(latents),), level)).mean()
        losses.append(float(loss) * ((1 - level) ** 2 + level**2))
    return sum(losses) / len(losses)


def _samples(dit: VideoDiT, like: Tensor) -> Tensor:
    levels, z = time_grid(_SAMPLER_STEPS).flip(0).to(like.dtype), torch.randn_like(like)
    for here, there in pairwise(levels):
        t, t_next = (level.expand(len(z), z.shape[2]) for level in (here, there))
        z, _ = euler(dit, z, t, t_next)
    return z


def _window(video: Tensor) -> Tensor:
    """As many frames as features take, the last one repeated where there are fewer."""
    index = torch.arange(RandomFeatures.num_frames).clamp_max(video.shape[2] - 1)
    return video.float().cpu().clamp(-1, 1)[:, :, index]
