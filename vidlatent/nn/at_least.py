"""Clips too short for a network that needs so many frames, rows and columns."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from vidlatent.nn.passed import items_before
from vidlatent.nn.resample import Factors
from vidlatent.streaming import H, State, Sweep, Sweepable, T, W
from vidlatent.streaming.shelf import Kept
from vidlatent.streaming.state import concat, drop
from vidlatent.streaming.window import pad

_AXES = (T, H, W)


class AtLeast(Sweepable):
    """`body` on a clip of at least `minimum` items along (T, H, W), and of its answer what the given items stand for.

    What is missing are copies of the last frame, and of the rows and columns at both ends. `body` gives `factors` items
    for each, but one for the first frame. Rows wait until there are enough, frames do not.
    """

    def __init__(self, body: Sweepable, minimum: Factors, factors: Factors) -> None:
        super().__init__()
        self.body = body
        self.minimum, self.factors = (dict(zip(_AXES, sizes, strict=True)) for sizes in (minimum, factors))

    def forward(self, x: Tensor, sweep: Sweep | None = None) -> Tensor:
        known = sweep.state(self, sweep.axes[0], _Lengths, shared=True) if sweep else _Lengths()
        if not (sweep and sweep.passes(x)):
            for axis in _AXES:
                x = self._lengthen(x, axis, known, sweep)
        x = self.body(x, sweep)
        if not (sweep and sweep.passes(x)):
            for axis in _AXES:
                x = self._shorten(x, axis, known, sweep)
        return x

    def _lengthen(self, x: Tensor, axis: int, known: _Lengths, sweep: Sweep | None) -> Tensor:
        if sweep is None or axis not in sweep.axes:
            if x.numel():
                known.note(axis, x.shape[axis])
            return self._filled(x, axis, x.shape[axis])
        held = sweep.state(self, axis, _Held)
        held.count += x.shape[axis]
        if held.given:
            return x
        if held.count < self.minimum[axis] and not sweep.last[axis]:
            return held.keep_last(x) if axis == T else held.keep(x, axis)
        kept, held.slabs, held.given = [*map(held.shelf.get, held.slabs)], [], True
        known.note(axis, held.count)
        x = self._filled(concat([*kept, x], axis), axis, held.count)
        return drop(x, T, len(kept)) if axis == T else x  # the frame that was kept has gone by

    def _filled(self, x: Tensor, axis: int, count: int) -> Tensor:
        missing = max(self.minimum[axis] - count, 0) if count else 0
        before = self._before(axis, count)
        return pad(x, axis, before, missing - before, "replicate")

    def _before(self, axis: int, count: int) -> int:
        """Copies put in front."""
        return max(self.minimum[axis] - count, 0) // 2 if axis != T and count else 0

    def _shorten(self, x: Tensor, axis: int, known: _Lengths, sweep: Sweep | None) -> Tensor:
        seen, length = items_before(self, x, sweep, axis) if axis != W else 0, x.shape[axis]
        count, factor = known.of.get(axis, 0), self.factors[axis]
        if not 0 < count < self.minimum[axis]:
            return x
        start = self._before(axis, count) * factor
        stop = start + (1 + (count - 1) * factor if axis == T else count * factor)
        start, stop = (min(max(edge - seen, 0), length) for edge in (start, stop))
        return x.narrow(axis, start, stop - start)


@dataclass
class _Lengths:
    """How long each axis is, as far as it is known to be long enough or at its end."""

    of: dict[int, int] = field(default_factory=dict)

    def note(self, axis: int, count: int) -> None:
        """A place where there is nothing says nothing; a new dictionary, as saved states share the old one."""
        self.of = {**self.of, axis: max(count, self.of.get(axis, 0))}


@dataclass
class _Held(State):
    """Rows that are held back until there are enough, or the last frame that went by."""

    count: int = 0
    given: bool = False
    slabs: list[Tensor | Kept] = field(default_factory=list)

    def keep(self, x: Tensor, axis: int) -> Tensor:
        """Hold a slab back; what leaves in its place is empty."""
        self.slabs = [*self.slabs, *([self.shelf.put(x)] if x.shape[axis] else [])]
        return x.narrow(axis, 0, 0)

    def keep_last(self, x: Tensor) -> Tensor:
        """Let frames pass, and keep the last of them."""
        if x.shape[T]:
            for kept in self.slabs:
                self.shelf.drop(kept)
            self.slabs = [self.shelf.put(x[:, :, -1:])]
        return x
