"""Operators that only rearrange or average the channels of each position."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from vidlatent.streaming import Pointwise


class TakeChannels(Pointwise):
    """The channels of the given `indices`, in that order; a channel may be taken several times."""

    indices: Tensor

    def __init__(self, indices: Iterable[int]) -> None:
        super().__init__()
        self.register_buffer("indices", torch.tensor(list(indices)), persistent=False)

    def apply_to(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 4, 1).index_select(-1, self.indices).permute(0, 4, 1, 2, 3)


class GroupMean(Pointwise):
    """Average consecutive channels, `size` at a time."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def apply_to(self, x: Tensor) -> Tensor:
        rows = x.permute(0, 2, 3, 4, 1).unflatten(-1, (x.shape[1] // self.size, self.size))
        return rows.mean(-1).permute(0, 4, 1, 2, 3)
