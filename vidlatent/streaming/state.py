"""What one module remembers between two slabs along one axis.

An empty slab is a tensor with a zero-length axis, so a module that must wait simply returns one: there is no None, no
sentinel and no warm-up branch anywhere above this file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, ClassVar

from torch import Tensor

from vidlatent.streaming.shelf import DEVICE, Kept, Shelf
from vidlatent.streaming.shelf import concat as concat
from vidlatent.streaming.window import Window, pad

_PLAIN = {"int", "bool", "list[int]", "list[list[int]]", "dict[int, bool]", "dict[int, int]"}
"""Types of fields that keep no tensor."""


def join(held: Tensor | None, x: Tensor, axis: int) -> Tensor:
    """What was held and what came."""
    return x if held is None else concat([held, x], axis)


def drop(x: Tensor, axis: int, count: int) -> Tensor:
    """View of `x` without its first `count` items."""
    return x.narrow(axis, count, x.shape[axis] - count) if count else x


def take(x: Tensor, axis: int, count: int) -> Tensor:
    """View of the first `count` items of `x`."""
    return x.narrow(axis, 0, count) if count < x.shape[axis] else x


@dataclass
class State:
    """Base of states that hold activations: what they keep lies on `shelf`, which the sweep chooses.

    `inner_last` says whether the slab of the outer axis that they took in was the last along the inner, `grows` whether
    every slab adds to what is kept.
    """

    grows: ClassVar[bool] = False
    inner_last: bool = True

    def __post_init__(self) -> None:
        self.shelf: Shelf = DEVICE

    def lengthen(self, count: int) -> None:
        """Hold `count` items more, whatever they are: for counting, where `grows`."""


def convert(value: Any, change: Callable[[Any], Any]) -> Any:
    """A field with everything kept in it changed: a tensor or what stands for it, or a list of those."""
    if isinstance(value, list):
        return [convert(item, change) for item in value]
    return change(value) if isinstance(value, Tensor | Kept) else value


def kept_in(state: Any) -> list[Tensor | Kept]:
    """Everything that a state keeps, wherever it lies; states that were saved are dictionaries."""
    if isinstance(state, dict):
        return _kept_in(state.values())
    return _kept_in([getattr(state, name) for name in _roomy(state.__class__)])


@cache
def _roomy(kind: type) -> tuple[str, ...]:
    """Names of the fields that may keep something; it is asked very often while memory is counted."""
    return tuple(f.name for f in fields(kind) if f.type not in _PLAIN)


def _kept_in(values: Iterable[Any]) -> list[Tensor | Kept]:
    found: list[Tensor | Kept] = []
    for value in values:
        kind = type(value)  # quicker than `isinstance`
        if kind is Tensor or kind is Kept:
            found.append(value)
        elif kind is list and value:
            found += _kept_in(value)
    return found


@dataclass
class Halo(State):
    """Inputs a local operator still needs; padding is a halo that comes from nowhere.

    `skip` counts the items at the head of `carry` that are consumed already: they are kept for padding the end, were
    cropped by negative padding, or (when it exceeds the carry) fall between two strides of a small kernel. Below zero
    it counts zeros in front of the head that exist in name only; `lacking` is how many of them the last run began with.
    """

    carry: Tensor | Kept | None = None
    skip: int = 0
    started: bool = False
    tail: bool = False
    ended: bool = False
    widest: int = 0
    lacking: int = 0

    def feed(self, x: Tensor, axis: int, window: Window, last: bool, *, bare: bool = False) -> Tensor:
        """Take in a slab and give what became complete."""
        self.join(x, axis)
        return self.give(axis, window, last, bare=bare)

    def join(self, x: Tensor, axis: int) -> None:
        """Take in a slab; what was carried is let go, so that it does not lie there twice."""
        self.carry = x if self.carry is None or self.ended else self.shelf.join(self.carry, x, axis)

    def give(self, axis: int, window: Window, last: bool, *, bare: bool = False) -> Tensor:
        """Return the run of (padded) inputs whose outputs are now complete; keep the rest.

        With `bare`, zeros in front are left away, for an operator that knows what it does with zeros. At the end
        everything that waited comes free at once, in every layer: no run is longer than those before it, and what is
        left of the `tail` follows when the end is announced again, until the halo has `ended`.
        """
        assert self.carry is not None
        seen = self.shelf.get(self.carry)
        if self.ended:
            self.carry = None
            return seen.narrow(axis, 0, 0)
        if seen.shape[axis] < window.needed and not self.started and not last:
            self.carry = self.shelf.put(seen)
            return seen.narrow(axis, 0, 0)
        front, skip = 0, self.skip
        if not self.started:
            front = 0 if bare else max(window.before, 0)
            skip = -window.before if bare else max(-window.before, 0)
        seen = pad(seen, axis, front, max(window.after, 0) if last and not self.tail else 0, window.mode)

        length = seen.shape[axis]
        count = window.num_valid(length - max(-window.after, 0) - skip) if length else 0
        ended = last and count <= (self.widest or count)
        count = min(count, self.widest) if last and not ended else count
        self.lacking = max(-skip, 0) if count else 0
        run = (count - 1) * window.stride + window.span - self.lacking if count else 0
        ready = take(drop(seen, axis, max(skip, 0) if count else 0), axis, run)
        consumed = skip + count * window.stride
        kept = 0 if ended else min(max(length - consumed, window.history, 0), length)
        self.carry = None if ended else self.shelf.put(drop(seen, axis, length - kept))
        self.skip, self.started, self.tail, self.ended = consumed - (length - kept), True, last, ended
        self.widest = max(self.widest, count)
        return ready


@dataclass
class Align(State):
    """Branches with different lookahead meet: emit the run they have in common, queue what is ahead.

    `shapes` are those of the branches' last answers, were they empty; `ended` says that no more will come.
    """

    queues: list[list[Tensor | Kept]] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    shapes: list[list[int]] = field(default_factory=list)
    ended: bool = False

    def feed(self, branches: Sequence[Tensor], axis: int) -> list[Tensor]:
        """Return each branch's next items, as many as the slowest branch has."""
        queues, lengths = self.queues or [[] for _ in branches], self.lengths or [0] * len(branches)
        lengths = [length + branch.shape[axis] for length, branch in zip(lengths, branches, strict=True)]
        count = min(lengths)
        turns = [self._turn(list(q), b, axis, count) for q, b in zip(queues, branches, strict=True)]
        self.queues, self.lengths = [queue for _, queue in turns], [length - count for length in lengths]
        return [run for run, _ in turns]

    def _turn(self, queue: list[Tensor | Kept], x: Tensor, axis: int, count: int) -> tuple[Tensor, list[Tensor | Kept]]:
        """The first `count` items of queue and `x`, and the queue that is left; whole slabs move without a copy."""
        if not queue and x.shape[axis] == count:
            return x, queue
        run: list[Tensor] = []
        while queue and count:
            head = self.shelf.get(queue.pop(0))
            run.append(take(head, axis, count))
            if head.shape[axis] > count:
                queue.insert(0, self.shelf.put(drop(head, axis, count)))
            count -= run[-1].shape[axis]
        run.append(take(x, axis, count))
        rest = drop(x, axis, count)
        if rest.shape[axis]:
            queue.append(self.shelf.put(rest))
        return concat(run, axis), queue


@dataclass
class Gather(State):
    """The slabs a barrier holds back until its axis ends, and then gives out one by one."""

    slabs: list[Tensor | Kept] = field(default_factory=list)
    closed: bool = False
    given: int = 0

    def hold(self, x: Tensor, axis: int) -> None:
        """Keep a slab, unless it is empty."""
        if x.shape[axis]:
            self.slabs = [*self.slabs, self.shelf.put(x)]  # a new list: saved states share the old one

    def release(self) -> Tensor:
        """The next slab, in the order in which they came."""
        first, *self.slabs = self.slabs
        self.given += 1
        return self.shelf.get(first)


@dataclass
class Notes:
    """What a barrier noted of the slabs it holds, and the summary once all have come: small, and on the device."""

    notes: list[list[Tensor]] = field(default_factory=list)
    summary: list[Tensor] | None = None
