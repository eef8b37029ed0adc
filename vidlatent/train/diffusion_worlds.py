"""Latents of procedural worlds: clips encoded once, kept in memory, read in random windows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidlatent.autoencoders import Autoencoder
from vidlatent.diffusion.worlds import WorldStream, build_world
from vidlatent.diffusion.worlds.stream import TRAIN, VALIDATION
from vidlatent.diffusion.worlds.world import World, WorldClip
from vidlatent.files import write_tensors
from vidlatent.train.diffusion_data import Batch, load_autoencoder
from vidlatent.train.task import Batches

if TYPE_CHECKING:
    from vidlatent.train.diffusion_config import DiffusionConfig, WorldData

_AT_ONCE = 8


class WorldLatents:
    """A `Source` over a world; see `WorldData` for its settings."""

    def __init__(self, data: WorldData, config: DiffusionConfig) -> None:
        self.data, self.config = data, config
        ae = load_autoencoder(data.autoencoder)
        self.train, self.validation = encoded_world(data, ae, cache=data.cache or config.out / "latents.safetensors")
        flat = self.train.latents.float().transpose(0, 1).flatten(1)
        self.mean, self.std = flat.mean(1), flat.std(1)
        (_, h, w), (_, rows, columns) = self.train.latents.shape[2:], ae.latent_spec.stride
        self.size = (h * rows, w * columns)
        self.autoencoder, self.fingerprint = data.autoencoder, ae.fingerprint

    @property
    def metadata(self) -> dict[str, Any]:
        """The world, and at how many frames a second it is meant to be watched."""
        return {"fps": self.data.fps, "world": {"name": self.data.world, "options": self.data.options}}

    def batches(self, *, rank: int, world: int) -> Batches:  # noqa: ARG002
        config = self.config
        return Windows(self.train, frames=config.window, batch=config.batch, seed=config.seed, rank=rank)

    def held_out(self, count: int) -> Batch:
        clips = torch.arange(min(count, len(self.validation.latents)))
        return self.validation.windows(clips, torch.zeros_like(clips), self.config.window)


@dataclass(frozen=True)
class Pool:
    """Clips of latents in memory, raw: (N, C, t, h, w), with actions (N, t, A) or None."""

    latents: Tensor
    actions: Tensor | None = None

    def windows(self, clips: Tensor, starts: Tensor, length: int) -> Batch:
        """Raw windows of `length` latent frames, one for each clip and start."""
        at = list(zip(clips.tolist(), starts.tolist(), strict=True))
        batch = {"z": torch.stack([self.latents[clip, :, start : start + length] for clip, start in at]).float()}
        if self.actions is not None:
            batch["actions"] = torch.stack([self.actions[clip, start : start + length] for clip, start in at]).float()
        return batch


class Windows:
    """Endless random windows of a pool; batch i is drawn by (seed, rank, i), so it can go on where it was."""

    def __init__(self, pool: Pool, *, frames: int, batch: int, seed: int, rank: int = 0) -> None:
        self.pool, self.frames, self.batch, self.seed, self.rank = pool, frames, batch, seed, rank
        self.taken = 0

    def __iter__(self) -> Iterator[Batch]:
        last = self.pool.latents.shape[2] - self.frames
        while True:
            seed = np.random.SeedSequence((self.seed, self.rank, self.taken)).generate_state(1)[0]
            generator = torch.Generator().manual_seed(int(seed))
            clips = torch.randint(len(self.pool.latents), (self.batch,), generator=generator)
            starts = torch.randint(last + 1, (self.batch,), generator=generator)
            self.taken += 1
            yield self.pool.windows(clips, starts, self.frames)

    def state_dict(self) -> dict[str, Any]:
        return {"taken": self.taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.taken = int(state["taken"])


def encoded_world(data: WorldData, ae: Autoencoder, *, cache: Path) -> tuple[Pool, Pool]:
    """Training and validation clips of a world, encoded; read from the file `cache` where it holds just these."""
    from safetensors import safe_open

    content = _content(data, ae)
    if cache.is_file():
        with safe_open(cache, framework="pt") as file:
            if (file.metadata() or {}).get("content") == content:
                held = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                return _pool(held, "train"), _pool(held, "validation")
    world = build_world(data.world, **data.options)
    made: dict[str, Tensor] = {}
    for split, key, count in ((TRAIN, "train", data.clips), (VALIDATION, "validation", data.validation_clips)):
        made |= {f"{key}.{part}": value for part, value in _encoded(world, data, ae, split, count).items()}
    write_tensors(cache, made, {"content": content})
    return _pool(made, "train"), _pool(made, "validation")


@torch.no_grad()
def encode_clips(clips: list[WorldClip], ae: Autoencoder, world: World, *, skip: int) -> dict[str, Tensor]:
    """Latents (B, C, t, h, w) of clips without the first `skip`; actions (B, t, A) as shares of a latent's frames."""
    encoded = {"latents": ae.encode(torch.stack([clip.video for clip in clips])).mode()[:, :, skip:]}
    if world.num_actions:
        actions = torch.stack([clip.actions for clip in clips if clip.actions is not None])
        shares = F.one_hot(actions, world.num_actions).float().transpose(1, 2)
        stride = ae.latent_spec.stride[0]
        single = ae.latent_spec.num_frames(1) == 1  # then the first latent is one frame
        shares = F.pad(shares, (stride - 1, 0), mode="replicate") if single else shares
        encoded["actions"] = F.avg_pool1d(shares, stride).transpose(1, 2)[:, skip:]
    return encoded


def _encoded(world: World, data: WorldData, ae: Autoencoder, split: int, count: int) -> dict[str, Tensor]:
    frames = ae.latent_spec.num_frames(data.num_latents + data.skip)
    stream = WorldStream(world, num_frames=frames, seed=data.seed, split=split)
    parts: dict[str, list[Tensor]] = {}
    for start in range(0, count, _AT_ONCE):
        clips = [stream[index] for index in range(start, min(start + _AT_ONCE, count))]
        for name, value in encode_clips(clips, ae, world, skip=data.skip).items():
            parts.setdefault(name, []).append(value.half())
    return {name: torch.cat(values).contiguous() for name, values in parts.items()}


def _pool(held: dict[str, Tensor], key: str) -> Pool:
    return Pool(held[f"{key}.latents"], held.get(f"{key}.actions"))


def _content(data: WorldData, ae: Autoencoder) -> str:
    """What decides which latents these are."""
    chosen = data.model_dump(mode="json", exclude={"cache", "fps", "source", "autoencoder"})
    return hashlib.sha256(json.dumps([chosen, ae.fingerprint], sort_keys=True).encode()).hexdigest()
