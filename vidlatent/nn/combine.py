"""Combinators: a model is a tree of these over leaves, and never mentions a halo."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vidlatent.streaming import Align, Sweep, Sweepable


def align(branches: Sequence[Tensor], module: nn.Module, sweep: Sweep | None, axes: Sequence[int]) -> list[Tensor]:
    """Bring branches of different lookahead to the same extent along the swept ones of `axes`."""
    aligned = list(branches)
    for axis in sweep.axes if sweep else ():
        if axis in axes:
            assert sweep is not None
            aligned = sweep.state(module, axis, Align).feed(aligned, axis)
    return aligned


class Chain(nn.Sequential, Sweepable):
    """One module after the other."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        for module in self:
            x = module(x, sweep)
        return x


class Residual(Sweepable):
    """`body(x) + shortcut(x)`; the shortcut is the identity when none is given."""

    def __init__(self, body: Sweepable, shortcut: Sweepable | None = None) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut or Chain()

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        body, shortcut = align([self.body(x, sweep), self.shortcut(x, sweep)], self, sweep, (2, 3))
        return body + shortcut


class Concat(Sweepable):
    """Branches side by side, joined along the channels."""

    def __init__(self, *branches: Sweepable) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        return torch.cat(align([branch(x, sweep) for branch in self.branches], self, sweep, (2, 3)), 1)
