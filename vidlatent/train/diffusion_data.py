"""Latents a diffusion model is trained on, per-channel normal, whatever they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from vidlatent.autoencoders import Autoencoder, load
from vidlatent.diffusion.context import Context
from vidlatent.diffusion.dit import VideoDiT
from vidlatent.diffusion.provenance import Provenance
from vidlatent.train.diffusion_balance import channel_gains
from vidlatent.train.task import Batches

if TYPE_CHECKING:
    from vidlatent.train.diffusion_config import DiffusionConfig

Batch = dict[str, Any]
_SAMPLE = 4  # clips on which the decoder is asked what channels do


class Source(Protocol):
    """Where raw latents come from: batches {"z": (B, C, t, h, w)}, and {"actions": (B, t, A)} where there are any."""

    mean: Tensor
    std: Tensor
    size: tuple[int, int]
    autoencoder: str
    fingerprint: str

    @property
    def metadata(self) -> dict[str, Any]:
        """What else a model trained on these latents must record."""
        ...

    def batches(self, *, rank: int, world: int) -> Batches:
        """Endless training batches of process `rank` of `world`."""
        ...

    def held_out(self, count: int) -> Batch | None:
        """Up to `count` samples for validation, always the same; None without any."""
        ...


class Latents:
    """The latents of a run, and what a model trained on them must record."""

    def __init__(self, config: DiffusionConfig) -> None:
        self.config, self.source = config, open_source(config)
        self.mean, self.std = self.source.mean, self.source.std
        if config.balance:
            sample = next(iter(self.source.batches(rank=0, world=1)))["z"][:_SAMPLE].float()
            self.std = self.std / channel_gains(self.autoencoder(), sample, self.std, balance=config.balance)

    @property
    def channels(self) -> int:
        """Channels of the latents."""
        return len(self.mean)

    @property
    def metadata(self) -> dict[str, Any]:
        """For the header of the model's file: whose latents these are, and how they were normalised."""
        source = self.source
        return {
            "autoencoder": source.autoencoder,
            "fingerprint": source.fingerprint,
            "mean": [round(value, 6) for value in self.mean.tolist()],
            "std": [round(value, 6) for value in self.std.tolist()],
            "size": list(source.size),
            "frames": self.config.frames,
            **source.metadata,
        }

    def scale_as(self, dit: VideoDiT, *, path: object) -> None:
        """Feed a model as it was fed in training. Raises `ModelError` where it saw another autoencoder's latents."""
        made = Provenance.of(dit, path=path)
        made.check(self.source.fingerprint, name=self.source.autoencoder)
        self.mean, self.std = torch.tensor(made.mean), torch.tensor(made.std)

    def batches(self, rank: int, world: int) -> Batches:
        """Endless training batches, raw."""
        return self.source.batches(rank=rank, world=world)

    def held_out(self, count: int) -> Batch | None:
        """Validation samples, raw; None without any."""
        return self.source.held_out(count)

    def normal(self, batch: Batch) -> Tensor:
        """The latents of a batch as a model is fed them."""
        z = batch["z"].float()
        mean, std = (values.to(z)[:, None, None, None] for values in (self.mean, self.std))
        return (z - mean) / std

    def context(self, batch: Batch) -> Context | None:
        """The conditions of a batch."""
        return Context(actions=batch["actions"]) if "actions" in batch else None

    def autoencoder(self) -> Autoencoder:
        """What decodes these latents."""
        return load_autoencoder(self.source.autoencoder)


def open_source(config: DiffusionConfig) -> Source:
    """The source that a configuration names."""
    if config.data.source == "world":
        from vidlatent.train.diffusion_worlds import WorldLatents

        return WorldLatents(config.data, config)
    from vidlatent.train.diffusion_stored import StoredLatents

    return StoredLatents(config.data, config)


def load_autoencoder(name: str) -> Autoencoder:
    """The autoencoder of a run, frozen."""
    return load(name).requires_grad_(False).eval()
