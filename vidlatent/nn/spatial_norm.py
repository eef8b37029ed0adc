"""A group norm whose scale and shift come from a signal at each position."""

from __future__ import annotations

from itertools import product
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vidlatent.nn.blocks import BLOCK
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
        if torch.is_grad_enabled() or x.is_cuda:
            return torch.cat([F.silu(super().answer(f, summary) * self.y(z) + self.b(z)), z], 1)
        rows = x.permute(0, 2, 3, 4, 1)
        out = torch.empty(rows.shape, dtype=x.dtype, device=x.device)
        if not x.is_meta:  # counting: what a block holds is nothing beside the answer
            scale, shift = (
                part.permute(0, 2, 3, 4, 1).expand(*rows.shape[:2], 1, 1, self.channels)
                for part in self.scale_and_shift(f, summary)
            )
            for batch, frame in product(*map(range, rows.shape[:2])):
                here = batch, frame
                self._answer_frame(rows[here].flatten(0, 1), out[here].flatten(0, 1), scale[here][0], shift[here][0])
        return out.permute(0, 4, 1, 2, 3)

    def _answer_frame(self, rows: Tensor, out: Tensor, scale: Tensor, shift: Tensor) -> None:
        """The definition, a block at a time: memory is read and written once."""
        size = max(1, BLOCK // rows.shape[1])
        for source, target in zip(rows.split(size), out.split(size), strict=True):
            f, z = source[:, : self.channels], source[:, self.channels :]
            changed = target[:, : self.channels]
            torch.addcmul(shift, f, scale, out=changed)
            for conv, combine in ((self.y, changed.mul_), (self.b, changed.add_)):
                combine(F.linear(z, conv.weight.flatten(1), conv.bias))
            F.silu(changed, inplace=True)
            target[:, self.channels :] = z
