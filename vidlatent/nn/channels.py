"""Operators that only rearrange or average the channels of each position."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from vidlatent.streaming import Pointwise


class TakeChannels(Pointwise):
    """The channels of the given `indices`, in that order; a channel may be taken several times.

    Of a run of channels that is most of them the answer is a view, which saves a copy of the clip.
    """

    indices: Tensor

    def __init__(self, indices: Iterable[int]) -> None:
        super().__init__()
        taken = list(indices)
        self.register_buffer("indices", torch.tensor(taken, dtype=torch.long), persistent=False)
        self.run = (taken[0], len(taken)) if taken and taken == list(range(taken[0], taken[-1] + 1)) else None

    def apply_to(self, x: Tensor) -> Tensor:
        if self.run is not None:
            part = x.narrow(1, *self.run)
            # a view of little would keep the rest alive
            return part if 2 * self.run[1] >= x.shape[1] else part.contiguous(memory_format=torch.channels_last_3d)
        return x.permute(0, 2, 3, 4, 1).index_select(-1, self.indices).permute(0, 4, 1, 2, 3)


class GroupMean(Pointwise):
    """Average consecutive channels, `size` at a time."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def apply_to(self, x: Tensor) -> Tensor:
        rows = x.permute(0, 2, 3, 4, 1).unflatten(-1, (x.shape[1] // self.size, self.size))
        return rows.mean(-1).permute(0, 4, 1, 2, 3)
