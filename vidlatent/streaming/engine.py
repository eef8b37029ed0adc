"""Drive a sweepable module through a clip: slab in, slab out."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vidlatent.streaming.module import Sweepable
from vidlatent.streaming.plan import Plan
from vidlatent.streaming.state import concat
from vidlatent.streaming.sweep import Sweep


class SlabStream:
    """One pass of `module` along the plan's outer axis: push slabs of any thickness, then finish.

    Each answer holds what is complete so far, maybe nothing (a zero-length axis). Only the outer axis may be cut at
    will; strips of the inner axis are the plan's.
    """

    def __init__(self, module: Sweepable, plan: Plan) -> None:
        if not plan.axes:
            raise ValueError("a stream needs an axis to run along: Plan(axes=(2,), chunk=1) for frames")
        self.module, self.plan = module, plan
        self.outer, self.inner = plan.axes[0], (plan.axes[1] if len(plan.axes) > 1 else None)
        self.sweep = Sweep(*plan.axes)
        self._empty: Tensor | None = None

    def push(self, slab: Tensor, *, last: bool = False) -> Tensor:
        """Feed the next slab `(B, C, T, H, W)`; `last=True` ends the axis with it."""
        if self.sweep.last[self.outer]:
            raise ValueError("this stream is finished: start a new one")
        if self._empty is None:
            self._empty = slab.narrow(self.outer, 0, 0).clone()
        self._check(slab)
        self.sweep.last[self.outer] = last
        if self.inner is None:
            return self.module(slab, self.sweep)
        strips = slab.split(self.plan.thickness(self.inner), self.inner)
        outputs = []
        for index, strip in enumerate(strips):
            self.sweep.index[self.inner] = index
            self.sweep.last[self.inner] = index == len(strips) - 1
            outputs.append(self.module(strip, self.sweep))
        self.sweep.rewind(self.inner)
        return concat(outputs, self.inner)

    def finish(self) -> Tensor:
        """End the axis and return what was still waiting for it."""
        if self._empty is None:
            raise ValueError("nothing was pushed into this stream, so there is nothing to finish")
        return self.push(self._empty, last=True)

    def _check(self, slab: Tensor) -> None:
        """Refuse a slab that cannot continue this stream."""
        assert self._empty is not None
        same = [axis for axis in range(slab.ndim) if axis != self.outer]
        if slab.ndim != self._empty.ndim or any(slab.shape[a] != self._empty.shape[a] for a in same):
            raise ValueError(f"slab {tuple(slab.shape)} does not continue a stream of {tuple(self._empty.shape)}")

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue in another process with the same module and plan."""
        return {
            "empty": self._empty,
            "last": self.sweep.last[self.outer],
            "plan": [list(self.plan.axes), self.plan.chunk, self.plan.strip],
            "states": self.sweep.state_dict(self.module),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continue the stream that `state_dict` saved."""
        if saved["plan"] != [list(self.plan.axes), self.plan.chunk, self.plan.strip]:
            raise ValueError(
                f"the saved stream ran with plan {saved['plan']}, this one with {self.plan!r}: make them equal"
            )
        self._empty = saved["empty"]
        self.sweep.last[self.outer] = saved["last"]
        self.sweep.load_state_dict(self.module, saved["states"])


def run(module: Sweepable, x: Tensor, plan: Plan | None = None, out: Tensor | None = None) -> Tensor:
    """Apply `module` to a whole clip as `plan` cuts it; the answer does not depend on the plan.

    With `out`, each slab is written where it belongs and nothing else of the answer is held.
    """
    if plan is None or not plan.axes:
        return _place(module(x), out)
    stream = SlabStream(module, plan)
    slabs = x.split(plan.thickness(stream.outer), stream.outer)
    pieces, position = [], 0
    for index, slab in enumerate(slabs):
        piece = stream.push(slab, last=index == len(slabs) - 1)
        length = piece.shape[stream.outer]
        if out is None:
            pieces.append(piece)
        elif length:
            _place(piece, out.narrow(stream.outer, position, min(length, out.shape[stream.outer] - position)))
        position += length
    if out is None:
        return concat(pieces, stream.outer)
    if position != out.shape[stream.outer]:
        raise ValueError(f"out has {out.shape[stream.outer]} items along axis {stream.outer}, the answer {position}")
    return out


def _place(answer: Tensor, out: Tensor | None) -> Tensor:
    if out is None:
        return answer
    if out.shape != answer.shape:  # copying would repeat what is too small
        raise ValueError(f"out has room for {tuple(out.shape)}, the answer is {tuple(answer.shape)}: make them equal")
    return out.copy_(answer)
