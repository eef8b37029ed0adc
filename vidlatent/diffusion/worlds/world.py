"""What every procedural world gives: a clip by its seed, and the exact truth about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class WorldClip:
    """One clip of a world, and its ground truth.

    `video` is (3, T, H, W) in [-1, 1]. `state` holds float tensors: per frame (T, ...), or per clip where the law says
    that they never change. `actions` (T,) are integers, for worlds that are acted in.
    """

    video: Tensor
    state: dict[str, Tensor] = field(default_factory=dict)
    actions: Tensor | None = None


class World(Protocol):
    """A distribution over clips with known laws."""

    @property
    def size(self) -> int:
        """Height and width of a frame in pixels."""
        ...

    @property
    def num_actions(self) -> int:
        """Actions there are; 0 where nobody acts."""
        ...

    def clip(self, seed: tuple[int, ...], num_frames: int) -> WorldClip:
        """The clip of this seed: the same on every machine, and the same at its start whatever its length."""
        ...


def random_stream(seed: tuple[int, ...]) -> np.random.Generator:
    """Random numbers that depend on every part of a seed: (run, split, clip)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
