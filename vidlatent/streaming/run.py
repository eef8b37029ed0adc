"""A whole clip through a module, as a plan cuts it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

from torch import Tensor

from vidlatent.streaming.engine import SlabStream
from vidlatent.streaming.heap import return_freed_blocks
from vidlatent.streaming.module import Sweepable
from vidlatent.streaming.oom import is_out_of_memory
from vidlatent.streaming.plan import Plan
from vidlatent.streaming.state import concat

Prepare = Callable[[Tensor], Tensor]


def run(
    module: Sweepable, x: Tensor, plan: Plan | None = None, out: Tensor | None = None, *, prepare: Prepare | None = None
) -> Tensor:
    """Apply `module` to a whole clip as `plan` cuts it; the answer does not depend on the plan.

    With `out`, each piece is written where it belongs and nothing else of the answer is held. `prepare` is applied to
    each slab before it enters. If memory runs out although the plan was made for a budget, the plan is thinned and a
    warning says so: as long as nothing is finished the pass starts anew, later it goes on where it is, in thinner
    slabs and with its state off the device. If that does not help either, what torch raised is raised.
    """
    plan = plan or Plan()
    while True:
        one = _Pass(module, plan, prepare or _as_it_is)
        try:
            return one.whole(x, out) if not plan.axes else one.swept(x, out)
        except Exception as error:
            thinner = plan.thinner(tuple(x.shape)) if plan.budget_bytes and not one.finished else None
            if thinner is None or not is_out_of_memory(error):
                raise
        warnings.warn(f"memory ran out with {plan}; starting anew with {thinner}", RuntimeWarning, stacklevel=2)
        plan = thinner


def _as_it_is(x: Tensor) -> Tensor:
    return x


class _Pass:
    """One attempt; `finished` counts the items of the answer along the outer axis that are done."""

    def __init__(self, module: Sweepable, plan: Plan, prepare: Prepare) -> None:
        self.module, self.plan, self.prepare, self.finished = module, plan, prepare, 0

    def whole(self, x: Tensor, out: Tensor | None) -> Tensor:
        """The clip at once."""
        if self.plan.budget_bytes and x.device.type == "cpu":
            return_freed_blocks(self.plan.budget_bytes, self.plan.peak_bytes)
        return _place(self.module(self.prepare(x)), out)

    def swept(self, x: Tensor, out: Tensor | None) -> Tensor:
        """The clip slab by slab."""
        stream, pieces = SlabStream(self.module, self.plan), []
        for slab, last in self._slabs(x, stream):
            if out is None:
                pieces.append(stream.push(self.prepare(slab), last=last))
                self.finished += pieces[-1].shape[stream.outer]
                continue
            for strips in stream.rounds(self.prepare(slab), last=last):
                self.finished += _place_strips(strips, out, self.finished, stream)
        if out is None:
            return concat(pieces, stream.outer)
        _check_length(out, stream.outer, self.finished)
        return out

    def _slabs(self, x: Tensor, stream: SlabStream) -> Iterator[tuple[Tensor, bool]]:
        """Slabs as thick as planned; half as thick once memory ran out, which the outer axis may be at any time."""
        position, length, thickness = 0, x.shape[stream.outer], self.plan.thickness(stream.outer)
        while position < length:
            slab = x.narrow(stream.outer, position, min(thickness, length - position))
            position += slab.shape[stream.outer]
            relieved = stream.sweep.relieved
            yield slab, position == length
            if stream.sweep.relieved and not relieved:
                thickness = max(1, thickness // 2)
                warnings.warn(
                    f"memory ran out with {self.plan}; going on with state kept in a {stream.sweep.keep} buffer "
                    f"and slabs of {thickness}",
                    RuntimeWarning,
                    stacklevel=2,
                )


def _place_strips(strips: Iterator[Tensor], out: Tensor, position: int, stream: SlabStream) -> int:
    """Write one round's strips from `position` along the outer axis on; returns how thick they are."""
    across, length = 0, 0
    for strip in strips:
        if strip.numel():
            length = strip.shape[stream.outer]
            target = _part(out, stream.outer, position, length)
            if stream.inner is not None:
                target = _part(target, stream.inner, across, strip.shape[stream.inner])
                across += strip.shape[stream.inner]
            _place(strip, target)
        del strip  # or it would stay while the next is made
    if length and stream.inner is not None:
        _check_length(out, stream.inner, across)
    return length


def _part(out: Tensor, axis: int, start: int, length: int) -> Tensor:
    if start + length > out.shape[axis]:
        _check_length(out, axis, start + length)
    return out.narrow(axis, start, length)


def _check_length(out: Tensor, axis: int, length: int) -> None:
    if length != out.shape[axis]:
        raise ValueError(f"out has {out.shape[axis]} items along axis {axis}, the answer {length}: make them equal")


def _place(answer: Tensor, out: Tensor | None) -> Tensor:
    if out is None:
        return answer
    if out.shape != answer.shape:  # copying would repeat what is too small
        raise ValueError(f"out has room for {tuple(out.shape)}, the answer is {tuple(answer.shape)}: make them equal")
    return out.copy_(answer)
