"""A group norm whose scale and shift come from a signal at each position."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vidlatent.nn.conv import Conv3d
from vidlatent.nn.norm import GroupNorm


class SpatialNorm(GroupNorm):
    """`silu(group_norm(f) * y(z) + b(z))`; `y` and `b` are pointwise convolutions (arXiv:2209.09002).

    The group norm is over the clip or over each frame.

    The first `channels` of the input are `f`, the other `condition` channels are `z`, which comes out as it is.
    """

    def __init__(
        self, groups: int, channels: int, condition: int, *, over: Literal["clip", "frame"] = "clip", eps: float = 1e-6
    ) -> None:
        super().__init__(groups, channels, over=over, eps=eps)
        self.channels = channels
        self.y, self.b = Conv3d(condition, channels), Conv3d(condition, channels)

    def note(self, x: Tensor) -> list[Tensor]:
        return super().note(x[:, : self.channels])

    def answer(self, x: Tensor, summary: list[Tensor]) -> Tensor:
        f, z = x[:, : self.channels], x[:, self.channels :]
        return torch.cat([F.silu(super().answer(f, summary) * self.y(z) + self.b(z)), z], 1)
