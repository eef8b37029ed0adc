"""Latents from a folder that `vidlatent encode-dataset` wrote, epoch after epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from vidlatent.errors import InputError
from vidlatent.latents import LatentDataset
from vidlatent.train.diffusion_data import Batch
from vidlatent.train.task import Batches

if TYPE_CHECKING:
    from vidlatent.train.diffusion_config import DiffusionConfig, LatentData


class StoredLatents:
    """A `Source` over a latent dataset; see `LatentData` for its settings."""

    def __init__(self, data: LatentData, config: DiffusionConfig) -> None:
        self.data, self.config = data, config
        self.dataset = LatentDataset(data.path)
        settings, stats = self.dataset.settings, self.dataset.stats
        mean, std = (torch.as_tensor(values).float().flatten() for values in (stats.mean, stats.std))
        channels = int(settings.latent_spec["channels"])  # of moments the first half is the mean
        self.mean, self.std = mean[:channels], std[:channels].clamp_min(1e-6)
        self.autoencoder, self.fingerprint = data.autoencoder or settings.model, settings.fingerprint
        shapes = {self.dataset.shape(index)[2:] for index in range(len(self.dataset))}
        if len(shapes) != 1:
            raise InputError(
                f"{data.path}: clips of several sizes ({len(shapes)} latent grids): encode with one --size"
            )
        stride = settings.latent_spec["stride"]
        self.size = tuple(side * by for side, by in zip(shapes.pop(), stride[1:], strict=True))

    @property
    def metadata(self) -> dict[str, Any]:
        """How many frames a second the first clip has."""
        return {"fps": float(self.dataset.meta(0).fps)}

    def batches(self, *, rank: int, world: int) -> Batches:
        config = self.config
        reader = self.dataset.batches(
            frames=config.window,
            batch_size=config.batch,
            seed=config.seed,
            rank=rank,
            world_size=world,
            with_meta=False,
        )
        return _Endless(reader)

    def held_out(self, count: int) -> Batch | None:
        if self.data.validation is None:
            return None
        dataset, frames = LatentDataset(self.data.validation), self.config.window
        if dataset.settings.fingerprint != self.fingerprint:
            raise InputError(
                f"{self.data.validation}: encoded by autoencoder {dataset.settings.fingerprint}, "
                f"the training clips by {self.fingerprint}: encode both with one"
            )
        long_enough = [index for index in range(len(dataset)) if dataset.shape(index)[0] >= frames][:count]
        if not long_enough:
            raise InputError(f"{self.data.validation}: no clip has {frames} latent frames")
        return {"z": torch.stack([dataset.window(index, 0, frames) for index in long_enough]).transpose(1, 2)}


class _Endless:
    """A reader's epochs one after the other."""

    def __init__(self, reader: Any) -> None:
        self.reader = reader

    def __iter__(self) -> Iterator[Batch]:
        while True:
            for batch in self.reader:
                yield {"z": batch["latents"]}
            self.reader.set_epoch(self.reader.state_dict()["epoch"] + 1)

    def state_dict(self) -> dict[str, Any]:
        return self.reader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.reader.load_state_dict(state)
