"""Which windows an epoch is made of, in which order, for which rank: a function of seed and epoch, on every machine.

Clips of one latent shape form a bucket. A bucket is shuffled and cut into steps of `batch_size x world_size` windows,
the steps of all buckets are shuffled, and rank r takes its slice of each. So at every step all ranks see the same shape
and the same number of windows, which is what distributed training needs, and none sees what another does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vidlatent.errors import InputError
from vidlatent.latents.dataset.columns import Columns

Windows = Literal["random", "all"]


@dataclass(frozen=True)
class EpochPlan:
    """How epochs are made.

    Args:
        frames: Latent frames of a window; None takes clips whole, and their length is part of their bucket.
        windows: "random" takes one window of each clip, anywhere in it; "all" every window at a distance of `stride`.
        stride: Latent frames from one window's start to the next one's, for "all"; `frames` where None.
        batch_size: Windows a rank sees at a step.
        world_size: Ranks.
        shuffle: Whether windows and steps are shuffled, or come by bucket and key.
        seed: Of everything random.
        drop_last: Whether what is left of a bucket is dropped; otherwise it is filled up with windows of that bucket.
    """

    frames: int | None = None
    windows: Windows = "random"
    stride: int | None = None
    batch_size: int = 1
    world_size: int = 1
    shuffle: bool = True
    seed: int = 0
    drop_last: bool = True

    def __post_init__(self) -> None:
        if self.windows not in ("random", "all"):
            raise InputError(f"windows={self.windows!r}: expected random or all")
        for name in ("frames", "stride", "batch_size", "world_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name}={value}: must be 1 or more")

    def steps(self, columns: Columns, epoch: int) -> list[np.ndarray]:
        """Each step's windows for all ranks, rows of (clip, start), `batch_size` behind each other for each rank."""
        random = np.random.default_rng([self.seed, epoch])
        steps = [step for bucket in self._buckets(columns, random) for step in self._cut(bucket, random)]
        if not self.shuffle:
            return steps
        return [steps[number] for number in random.permutation(len(steps))]

    def length(self, clip: int, columns: Columns) -> int:
        """Latent frames of a window of this clip."""
        return int(columns.latent_frames[clip]) if self.frames is None else self.frames

    def _buckets(self, columns: Columns, random: np.random.Generator) -> Iterator[np.ndarray]:
        """Windows (clip, start) of one latent shape each, clips too short left out."""
        grids = np.array([shape[:3] for shape in columns.shapes], np.int64).reshape(-1, 3)[columns.shape]
        lengths = columns.latent_frames[:, None].astype(np.int64)
        wanted = lengths if self.frames is None else np.full_like(lengths, self.frames)
        spare = (lengths - wanted)[:, 0]
        # Drawn for every clip, so that which window a clip gives does not depend on the others' lengths.
        drawn = random.random(len(spare))
        kinds, of = np.unique(np.concatenate([grids, wanted], 1), axis=0, return_inverse=True)
        for kind in range(len(kinds)):
            clips = np.flatnonzero((of.reshape(-1) == kind) & (spare >= 0))
            if self.windows == "random":
                starts = np.floor(drawn[clips] * (spare[clips] + 1)).astype(np.int64)
                yield np.stack([clips, starts], 1)
            else:
                stride = self.stride or int(kinds[kind][3])
                counts = spare[clips] // stride + 1
                number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
                yield np.stack([np.repeat(clips, counts), number * stride], 1)

    def _cut(self, bucket: np.ndarray, random: np.random.Generator) -> Iterator[np.ndarray]:
        if self.shuffle:
            bucket = bucket[random.permutation(len(bucket))]
        size = self.batch_size * self.world_size
        for first in range(0, len(bucket), size):
            step = bucket[first : first + size]
            if len(step) == size:
                yield step
            elif not self.drop_last:
                yield np.resize(step, (-(-len(step) // self.world_size) * self.world_size, 2))
