"""Combinators: a model is a tree of these over leaves, and never mentions a halo."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from vidlatent.streaming import Align, H, Sweep, Sweepable, T


def align(branches: Sequence[Tensor], module: nn.Module, sweep: Sweep | None, axes: Sequence[int]) -> list[Tensor]:
    """Bring branches of different lookahead to the same extent along the swept ones of `axes`."""
    aligned = list(branches)
    for axis in sweep.axes if sweep else ():
        if axis in axes:
            assert sweep is not None
            aligned = sweep.state(module, axis, Align).feed(aligned, axis)
    return aligned


def branch(modules: Iterable[nn.Module], x: Tensor, sweep: Sweep | None) -> list[Tensor]:
    """Every module's answer to the same slab; behind them, an axis has ended when it has ended in all of them."""
    if sweep is None:
        return [module(x) for module in modules]
    here, answers, ends = sweep.last, [], []
    for module in modules:
        sweep.last = dict(here)
        answers.append(module(x, sweep))
        ends.append(sweep.last)
    sweep.last = {axis: all(end[axis] for end in ends) for axis in here}
    return answers


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
        body, shortcut = align(branch([self.body, self.shortcut], x, sweep), self, sweep, (T, H))
        return body + shortcut


class Concat(Sweepable):
    """Branches side by side, joined along the channels."""

    def __init__(self, *branches: Sweepable) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        return torch.cat(align(branch(self.branches, x, sweep), self, sweep, (T, H)), 1)
