"""What one module remembers between two slabs along one axis.

An empty slab is a tensor with a zero-length axis, so a module that must wait simply returns one: there is no None, no
sentinel and no warm-up branch anywhere above this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vidlatent.streaming.window import Window, pad


def concat(slabs: Sequence[Tensor], axis: int) -> Tensor:
    """Concatenate, copying only if two slabs hold something; empty slabs may disagree about the other axes."""
    filled = [slab for slab in slabs if slab.shape[axis]]
    return torch.cat(filled, axis) if len(filled) > 1 else (filled or slabs)[-1]


def join(held: Tensor | None, x: Tensor, axis: int) -> Tensor:
    """What was held and what came."""
    return x if held is None else concat([held, x], axis)


def drop(x: Tensor, axis: int, count: int) -> Tensor:
    """View of `x` without its first `count` items."""
    return x.narrow(axis, count, x.shape[axis] - count)


@dataclass
class Halo:
    """Inputs a local operator still needs; padding is a halo that comes from nowhere.

    `skip` counts the items at the head of `carry` that are consumed already: they are kept for padding the end, were
    cropped by negative padding, or (when it exceeds the carry) fall between two strides of a small kernel. Below zero
    it counts zeros in front of the head that exist in name only; `lacking` is how many of them the last run began with.
    """

    carry: Tensor | None = None
    skip: int = 0
    started: bool = False
    lacking: int = 0

    def feed(self, x: Tensor, axis: int, window: Window, last: bool, *, bare: bool = False) -> Tensor:
        """Return the run of (padded) inputs whose outputs are now complete; keep the rest.

        With `bare`, zeros in front are left away, for an operator that knows what it does with zeros.
        """
        seen = join(self.carry, x, axis)
        if seen.shape[axis] < window.needed and not self.started and not last:
            self.carry = seen.clone()
            return seen.narrow(axis, 0, 0)
        front = 0 if self.started or bare else max(window.before, 0)
        if not self.started:
            self.skip, self.started = (-window.before if bare else max(-window.before, 0)), True
        seen = pad(seen, axis, front, max(window.after, 0) if last else 0, window.mode)

        length = seen.shape[axis]
        count = window.num_valid(length - max(-window.after, 0) - self.skip) if length else 0
        self.lacking = max(-self.skip, 0) if count else 0
        run = (count - 1) * window.stride + window.span - self.lacking if count else 0
        ready = seen.narrow(axis, max(self.skip, 0) if count else 0, run)
        consumed = self.skip + count * window.stride
        kept = 0 if last else min(max(length - consumed, window.history, 0), length)
        # a view would keep the whole slab alive
        self.carry = drop(seen, axis, length - kept).clone()
        self.skip = consumed - (length - kept)
        return ready


@dataclass
class Align:
    """Branches with different lookahead meet: emit the run they have in common, queue what is ahead."""

    queues: list[Tensor | None] = field(default_factory=list)

    def feed(self, branches: Sequence[Tensor], axis: int) -> list[Tensor]:
        """Return each branch's next items, as many as the slowest branch has."""
        waiting = self.queues or [None] * len(branches)
        branches = [join(queue, branch, axis) for queue, branch in zip(waiting, branches, strict=True)]
        count = min(branch.shape[axis] for branch in branches)
        self.queues = [drop(branch, axis, count).clone() if branch.shape[axis] > count else None for branch in branches]
        return [branch.narrow(axis, 0, count) for branch in branches]


@dataclass
class Gather:
    """A barrier's state: everything seen so far, released when the axis ends."""

    seen: list[Tensor] = field(default_factory=list)

    def feed(self, x: Tensor, axis: int, last: bool) -> list[Tensor]:
        """Return nothing until the last slab, then all of them; empty ones do not count."""
        if x.shape[axis] or (last and not self.seen):
            # a copy: the caller may overwrite its slab; a new list: saved states share the old one
            self.seen = [*self.seen, x if last else x.clone()]
        if not last:
            return []
        released, self.seen = self.seen, []
        return released
