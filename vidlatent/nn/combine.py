"""Combinators: a model is a tree of these over leaves, and never mentions a halo."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vidlatent.streaming import Align, H, State, Sweep, Sweepable, T
from vidlatent.streaming.shelf import Kept
from vidlatent.streaming.state import concat


def branch(
    owner: nn.Module, modules: Iterable[nn.Module], x: Tensor, sweep: Sweep | None, axes: Sequence[int] = (T, H)
) -> list[Tensor]:
    """Every module's answer to the same slab, brought to the same extent along the swept ones of `axes`.

    Along the others each answer is kept until the last module has one. Behind them an axis has ended when it has ended
    in all of them.
    """
    if sweep is None:
        return [module(x) for module in modules]
    if not sweep.idle and sweep.passes(x):
        return [x for _ in modules]
    outer = sweep.state(owner, sweep.axes[0], Align)
    if sweep.idle and outer.ended:
        return [x for _ in modules]
    with sweep.thorough():
        answers = _branch(owner, outer, modules, x, sweep, axes)
        outer.ended = sweep.last[sweep.axes[0]] and not sweep.passes(answers[-1])
    return answers


def _branch(
    owner: nn.Module, outer: Align, modules: Iterable[nn.Module], x: Tensor, sweep: Sweep, axes: Sequence[int]
) -> list[Tensor]:
    here, idle, answers, ends, idles = sweep.last, sweep.idle, [], [], []
    for module in modules:
        sweep.last, sweep.idle = dict(here), idle
        answers.append(module(x, sweep))
        ends.append(sweep.last)
        idles.append(sweep.idle)
    sweep.last, sweep.idle = {axis: all(end[axis] for end in ends) for axis in here}, all(idles)
    nested = len(sweep.axes) > 1
    if sweep.idle and not any(shape[sweep.axes[-1]] for shape in outer.shapes):  # nothing was ever counted here
        return answers
    sweep.counts = True  # how far the inner axis is
    if not idle:
        sweep.enter(outer, x)
        outer.shapes = [_emptied(answer, sweep.axes[0]) for answer in answers]
    else:  # of a branch that is idle only this is known; how far the inner axis is must be counted
        answers = [x.new_empty(s) if i else a for a, i, s in zip(answers, idles, outer.shapes, strict=True)]
    if not sweep.idle and idle:
        sweep.wake(outer)
    if not sweep.idle:
        sweep.begin((owner, "branches"), *answers)
    for axis in reversed(sweep.axes):  # what waits along the inner axis has no extent along the outer yet
        if axis in axes:
            answers = sweep.state(owner, axis, Align).feed(answers, axis)
        elif nested and axis == sweep.axes[-1]:
            answers = sweep.state(owner, axis, InTurn).feed(answers, axis, sweep.last[axis])
        if sweep.passes(answers[-1]):
            break
    return answers


@dataclass
class InTurn(State):
    """Branches whose answers are joined one behind the other: what comes early waits for the last branch's answer."""

    held: list[list[Tensor | Kept]] = field(default_factory=list)

    def feed(self, branches: Sequence[Tensor], axis: int, last: bool) -> list[Tensor]:
        """Return all that has come if the last branch has something, or never will; else nothing."""
        held = self.held or [[] for _ in branches]
        seen = [concat([*map(self.shelf.get, kept), x], axis) for kept, x in zip(held, branches, strict=True)]
        if last or seen[-1].shape[axis]:
            self.held = []
            return seen
        self.held = [[self.shelf.put(x)] if x.shape[axis] else [] for x in seen]
        return [x.narrow(axis, 0, 0) for x in seen]


def _emptied(x: Tensor, axis: int) -> list[int]:
    return [0 if a == axis else length for a, length in enumerate(x.shape)]


class Chain(nn.Sequential, Sweepable):
    """One module after the other."""

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        if sweep is not None and len(sweep.axes) > 1:
            asleep = sweep.state(self, sweep.axes[0], _Asleep, shared=True).modules
            return self._nested(x, sweep, sweep.state(self, sweep.axes[-1], _Over), asleep)
        for module in self:
            if sweep and not sweep.idle and sweep.passes(x):  # nothing wakes behind what waits
                break
            x = module(x, sweep)
        return x

    def _nested(self, x: Tensor, sweep: Sweep, over: _Over, asleep: dict[int, int]) -> Tensor:
        """The same, from the first module on of which the inner axis has not ended, and without those asleep."""
        inner, counts = sweep.axes[-1], sweep.counts
        sleepers = asleep.get(sweep.index[inner], 0)
        if over.count:
            x, sweep.last, sweep.idle = x.new_empty(over.shape), dict(over.last), False
        for index, module in enumerate([*self][over.count :], over.count):
            if sweep.idle and sleepers >> index & 1:
                continue
            if not sweep.idle and sweep.passes(x):
                break
            idle, sweep.counts = sweep.idle, False
            x = module(x, sweep)
            sleeps = idle and sweep.idle and not sweep.counts
            sleepers = sleepers & ~(1 << index) | sleeps << index
            counts |= sweep.counts
            if sweep.last[inner] and not sweep.idle:
                over.count, over.last, over.shape = index + 1, dict(sweep.last), _emptied(x, inner)
        asleep[sweep.index[inner]] = sleepers
        sweep.counts = counts
        return x


@dataclass
class _Asleep:
    """Which modules are idle and neither give nor count anything until something comes again.

    A bit for each, by the index of the inner slab: there are thousands of those where many barriers follow each other.
    """

    modules: dict[int, int] = field(default_factory=dict)


@dataclass
class _Over:
    """Of how many modules the inner axis has ended within a slab, and the shape of what comes of them from then on."""

    count: int = 0
    shape: list[int] = field(default_factory=list)
    last: dict[int, bool] = field(default_factory=dict)


def named(**modules: Sweepable) -> Chain:
    """A chain whose parts have names."""
    return Chain(OrderedDict(modules))


class Residual(Sweepable):
    """`body(x) + shortcut(x)`; the shortcut is the identity when none is given."""

    def __init__(self, body: Sweepable, shortcut: Sweepable | None = None) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut or Chain()

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        body, shortcut = branch(self, [self.body, self.shortcut], x, sweep)
        if sweep:
            if sweep.passes(body):
                return body
            sweep.begin((self, "sum"), body)
        return body + shortcut


class Concat(Sweepable):
    """Branches side by side, joined along the channels."""

    def __init__(self, *branches: Sweepable) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        answers = branch(self, self.branches, x, sweep)
        return answers[0] if sweep and sweep.passes(answers[0]) else torch.cat(answers, 1)
