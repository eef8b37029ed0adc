"""A group norm whose scale and shift come from a signal at each position."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vidlatent.nn.conv import Conv3d
from vidlatent.nn.norm import GroupNorm


class SpatialNorm(GroupNorm):
    """`silu(group_norm(f) * y(z) + b(z))` over the clip; `y` and `b` are pointwise convolutions (arXiv:2209.09002).

    The first `channels` of the input are `f`, the other `condition` channels are `z`, which comes out as it is.
    """

    def __init__(self, groups: int, channels: int, condition: int, *, eps: float = 1e-6) -> None:
        super().__init__(groups, channels, over="clip", eps=eps)
        self.channels = channels
        self.y, self.b = Conv3d(condition, channels), Conv3d(condition, channels)

    def note(self, x: Tensor) -> list[Tensor]:
        return super().note(x[:, : self.channels])

    def answer(self, x: Tensor, summary: list[Tensor]) -> Tensor:
        f, z = x[:, : self.channels], x[:, self.channels :]
        return torch.cat([F.silu(super().answer(f, summary) * self.y(z) + self.b(z)), z], 1)
