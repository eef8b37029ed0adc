"""Combinators: a model is a tree of these over leaves, and never mentions a halo."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from vidlatent.streaming import Align, H, Sweep, Sweepable, T


def branch(
    owner: nn.Module, modules: Iterable[nn.Module], x: Tensor, sweep: Sweep | None, axes: Sequence[int] = (T, H)
) -> list[Tensor]:
    """Every module's answer to the same slab, brought to the same extent along the swept ones of `axes`.

    Behind them an axis has ended when it has ended in all of them.
    """
    if sweep is None:
        return [module(x) for module in modules]
    here, idle, answers, ends, idles = sweep.last, sweep.idle, [], [], []
    for module in modules:
        sweep.last, sweep.idle = dict(here), idle
        answers.append(module(x, sweep))
        ends.append(sweep.last)
        idles.append(sweep.idle)
    sweep.last, sweep.idle = {axis: all(end[axis] for end in ends) for axis in here}, all(idles)
    if sweep.idle:
        return answers
    outer = sweep.state(owner, sweep.axes[0], Align)
    if idle:  # a branch that still is does not know how far the inner axis is, and let its input pass
        sweep.wake(outer)
        answers = [x.new_empty(s) if i else a for a, i, s in zip(answers, idles, outer.shapes, strict=True)]
    else:
        sweep.enter(outer, x)
        outer.shapes = [_emptied(answer, sweep.axes[0]) for answer in answers]
    for axis in sweep.axes:
        if axis in axes:
            answers = sweep.state(owner, axis, Align).feed(answers, axis)
    return answers


def _emptied(x: Tensor, axis: int) -> list[int]:
    return [0 if a == axis else length for a, length in enumerate(x.shape)]


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
        body, shortcut = branch(self, [self.body, self.shortcut], x, sweep)
        return x if sweep and sweep.idle else body + shortcut


class Concat(Sweepable):
    """Branches side by side, joined along the channels."""

    def __init__(self, *branches: Sweepable) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        answers = branch(self, self.branches, x, sweep)
        return x if sweep and sweep.idle else torch.cat(answers, 1)
