"""Batches for training: shuffled, bucketed, shared between ranks and workers, resumable in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from vidlatent.errors import InputError
from vidlatent.latents.dataset.epoch import EpochPlan
from vidlatent.latents.dataset.meta import Descriptions

if TYPE_CHECKING:
    from vidlatent.latents.dataset.reader import LatentDataset


class LatentBatches(IterableDataset[dict[str, Any]]):
    """Batches of equal shape, the same ones in the same order however many workers read them.

    A batch is a dict: `latents` (B, C, t, h, w) as models take them, `starts` (B,) latent frames, lists of `keys`
    and `captions`, a `ClipMeta` for each in `meta`, and `state`. Give it to a `DataLoader` with `batch_size=None`:

        batches = vl.open_latents("latents", normalize="spec").batches(frames=16, batch_size=8)
        loader = DataLoader(batches, batch_size=None, num_workers=4)
        for epoch in range(10):
            batches.set_epoch(epoch)
            for batch in loader:
                ...

    `batch["state"]` is where training goes on after that batch. Saved with a checkpoint and given to `load_state_dict`,
    it continues the epoch there, however far the workers have read ahead.

    Args:
        dataset: Where the clips are, and how they are normalised.
        plan: How epochs are made of them.
        rank: Of this process, within `plan.world_size`.
        with_meta: Whether descriptions are read too; without, batches have no `meta` and no `captions`.

    Raises:
        InputError: No such rank, or no clip is long enough for one batch.
    """

    def __init__(self, dataset: LatentDataset, plan: EpochPlan, *, rank: int = 0, with_meta: bool = True) -> None:
        if not 0 <= rank < plan.world_size:
            raise InputError(f"rank={rank}: expected 0 to {plan.world_size - 1}, for world_size={plan.world_size}")
        self.dataset, self.plan, self.rank, self.with_meta = dataset, plan, rank, with_meta
        # Shared, so that workers that stay alive from epoch to epoch see it too.
        self._position = torch.zeros(2, dtype=torch.int64).share_memory_()  # epoch, batches done
        self._of_these = {"plan": asdict(plan), "clips": len(dataset)}
        self._reached: int | None = None  # batches done in a pass that runs in this process
        self._steps = len(replace(plan, shuffle=False).steps(dataset.columns, 0))
        if not self._steps:
            frames, size = plan.frames or "any", f"{plan.batch_size} x {plan.world_size}"
            raise InputError(
                f"{dataset.folder}: {len(dataset)} clips give no batch of {size} windows of {frames} "
                "latent frames: take fewer, or drop_last=False"
            )

    def __len__(self) -> int:
        """Batches in an epoch, for this rank."""
        return self._steps

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass; one that was resumed goes on where it was."""
        if epoch != int(self._position[0]):
            self._position[:] = torch.tensor([epoch, 0])
            self._reached = None

    def state_dict(self) -> dict[str, Any]:
        """Where training goes on, as far as this process knows: with workers take a batch's `state` instead."""
        epoch, done = self._position.tolist()
        return self._state(epoch, done if self._reached is None else self._reached)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin the next pass behind the batch that gave this state.

        Raises:
            InputError: It is of another dataset or other batches; what differs is named.
        """
        mine = self._of_these
        different = [f"{name}: {state.get(name)} -> {mine[name]}" for name in mine if state.get(name) != mine[name]]
        if different:
            raise InputError(f"this state is of other batches (the state's -> these): {'; '.join(different)}")
        self._position[:] = torch.tensor([state["epoch"], state["done"]])
        self._reached = None

    def _state(self, epoch: int, done: int) -> dict[str, Any]:
        return {"epoch": epoch, "done": done, **self._of_these}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        epoch, done = self._position.tolist()
        steps = self.plan.steps(self.dataset.columns, epoch)
        # A DataLoader takes from its workers in turn, so this split keeps the order of the steps.
        for position in range(done + number, len(steps), workers):
            self._reached = position + 1
            yield self._batch(epoch, position, steps[position])

    def _batch(self, epoch: int, position: int, step: Any) -> dict[str, Any]:
        per_rank = len(step) // self.plan.world_size
        mine = list(map(tuple, step[self.rank * per_rank : (self.rank + 1) * per_rank].tolist()))
        batch: dict[str, Any] = {
            "latents": self._latents(epoch, mine).transpose(1, 2),
            "starts": torch.tensor([start for _, start in mine]),
            "keys": [self.dataset.key(clip) for clip, _ in mine],
            "state": self._state(epoch, position + 1),
        }
        if self.with_meta:
            batch["meta"] = Descriptions([self.dataset.meta_json(clip) for clip, _ in mine])
            batch["captions"] = batch["meta"].captions
        return batch

    def _latents(self, epoch: int, windows: list[tuple[int, int]]) -> Tensor:
        """(B, t, C, h, w), read where they are to lie."""
        length = self.plan.length(windows[0][0], self.dataset.columns)
        shape = self.dataset.shape(windows[0][0])[1:]
        stored = torch.empty((len(windows), length, *shape), dtype=self.dataset.dtype)
        self.dataset.read(windows, stored)
        transform = self.dataset.transform
        if transform.changes_nothing:
            return stored
        return torch.stack(
            [
                transform(frames, start, self._generator(epoch, clip, start))
                for frames, (clip, start) in zip(stored, windows, strict=True)
            ]
        )

    def _generator(self, epoch: int, clip: int, start: int) -> torch.Generator | None:
        """What draws from the posterior: it belongs to the window and the epoch, not to the worker that reads it."""
        if self.dataset.transform.posterior != "sample":
            return None
        seed = np.random.SeedSequence([self.plan.seed, epoch, clip, start]).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(seed[0]) % 2**63)
