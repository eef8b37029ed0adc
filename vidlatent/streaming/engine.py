"""Drive a sweepable module through a clip: slab in, slab out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from math import ceil
from typing import Any

import torch
from torch import Tensor

from vidlatent.streaming.module import Sweepable
from vidlatent.streaming.plan import Plan
from vidlatent.streaming.reuse import Reuse
from vidlatent.streaming.shelf import room
from vidlatent.streaming.state import concat
from vidlatent.streaming.steps import Expected
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
        self.sweep = Sweep(*plan.axes, keep=plan.keep)
        if plan.added_bytes and next(module.parameters()).device.type == "cpu":
            steps = Expected(module, plan.step_bytes)
            self.sweep.reuse = Reuse.within(plan.added_bytes, plan.budget_bytes, plan.peak_bytes, steps)
        self.finished = False
        self._empty: Tensor | None = None
        self._slab: Tensor | None = None  # of the size of the last that came
        self._nothing: Tensor | None = None  # an answer that is empty, known from the first round on
        self._passes = self._extent = 0

    def push(self, slab: Tensor, *, last: bool = False) -> Tensor:
        """Feed the next slab `(B, C, T, H, W)`; `last=True` ends the axis with it."""
        return concat([self._joined(strips) for strips in self.rounds(slab, last=last)], self.outer)

    def _joined(self, strips: Iterator[Tensor]) -> Tensor:
        """One round's strips in one; from the second round on, in which it is known how long that is, as they come."""
        if self.inner is None:
            whole = concat(list(strips), self.outer)
            self._give(whole)
            return whole
        gathered: list[Tensor] = []
        joined: Tensor | None = None
        position = 0
        for strip in strips:
            count = strip.shape[self.inner]
            if not self._extent or count in (0, self._extent) or not strip.numel() or strip.requires_grad:
                gathered = [*(one for one in gathered if one.shape[self.inner]), strip]
                continue
            joined = self._room_beside(strip) if joined is None else joined
            joined.narrow(self.inner, position, count).copy_(strip)
            position += count
            del strip  # or it would stay while the next is made
        joined = concat(gathered, self.inner) if joined is None else joined
        self._extent = joined.shape[self.inner] if joined.numel() else self._extent  # else it says nothing
        self._give(joined)
        return joined

    def _give(self, *answer: Tensor) -> None:
        """Who takes the answer works now; then the next slab comes, and is copied when it is prepared."""
        self.sweep.begin("given", *answer, self._slab, self._slab)

    def _room_beside(self, strip: Tensor) -> Tensor:
        """Room for all strips of a round."""
        assert self.inner is not None
        self.sweep.begin("joining", *[strip] * ceil(self._extent / strip.shape[self.inner]))
        shape = [*strip.shape[: self.inner], self._extent, *strip.shape[self.inner + 1 :]]
        joined = room(shape, strip.stride(), strip.dtype, strip.device)
        # what is not written to yet would hide as much memory that was freed
        return joined.zero_() if self.sweep.reuse else joined

    def finish(self) -> Tensor:
        """End the axis and return what was still waiting for it."""
        return self.push(self.empty, last=True)

    def drain(self) -> Iterator[Tensor]:
        """As `finish`, but piece by piece, none longer than a push gave: of layers that look ahead much waits."""
        for strips in self.rounds(self.empty, last=True):
            piece = self._joined(strips)
            if piece.shape[self.outer]:
                yield piece
            del piece  # or it would stay while the next is made

    @property
    def empty(self) -> Tensor:
        """A slab of nothing, as one that ends the axis."""
        if self._empty is None:
            raise ValueError("nothing was pushed into this stream, so there is nothing to finish")
        return self._empty

    def rounds(self, slab: Tensor, *, last: bool = False) -> Iterator[Iterator[Tensor]]:
        """As `push`, but piece by piece: runs of the outer axis, each in strips of the inner.

        Every piece must be taken before the next, and all of them before the next slab. The last slab takes more than
        one round if there are barriers, which give out only then what they held.
        """
        if self.finished:
            raise ValueError("this stream is finished: start a new one")
        if self._empty is None:
            self._empty = slab.narrow(self.outer, 0, 0).clone()
        self._check(slab)
        if self.sweep.reuse:
            self._slab = torch.empty_like(slab, device="meta")
        self.finished = last
        return self._rounds(slab, last)

    def _rounds(self, slab: Tensor, last: bool) -> Iterator[Iterator[Tensor]]:
        ended = [True]
        yield self._round(slab, last, ended)
        del slab
        while last and not all(ended):
            ended.clear()
            yield self._round(self.empty, last, ended, idle=True)
        if last and self.sweep.reuse:
            self.sweep.reuse.close()
            self.sweep.reuse = None

    def _round(self, slab: Tensor, last: bool, ended: list[bool], *, idle: bool = False) -> Iterator[Tensor]:
        """One slab through the module, in strips if there is an inner axis; adds whether the outer axis came out."""
        sweep = self.sweep
        sweep.skims = self._nothing is not None
        if self.inner is None:
            sweep.last, sweep.idle = {self.outer: last}, idle
            yield self._answer(slab)
            ended.append(sweep.last[self.outer])
            self._give()
            return
        strips = self._strips(slab)
        index, inner_ended = 0, False
        while self._goes_on(index, inner_ended):
            strip = strips[index] if index < len(strips) else slab.narrow(self.inner, 0, 0)
            sweep.index[self.inner] = index
            sweep.last, sweep.idle = {self.outer: last, self.inner: index >= len(strips) - 1}, idle
            yield self._answer(strip)
            ended.append(sweep.last[self.outer])
            inner_ended, index = sweep.last[self.inner], index + 1
        self._passes = index
        sweep.rewind(self.inner)
        self._give()

    def _strips(self, slab: Tensor) -> Sequence[Tensor]:
        """A slab cut along the inner axis."""
        assert self.inner is not None
        return slab.split(self.plan.thickness(self.inner), self.inner)

    def _goes_on(self, index: int, inner_ended: bool) -> bool:
        """Whether a strip of that index is still to come; what skims or is idle does not say when the axis ends."""
        return not inner_ended or index < self._passes

    def _answer(self, x: Tensor) -> Tensor:
        """The module's answer; where nothing came out it has the right shape all the same."""
        answer = self.module(x, self.sweep)
        if self.sweep.passes(answer):
            return answer.narrow(self.plan.axes[-1], 0, 0) if self._nothing is None else self._nothing
        if self._nothing is None:
            self._nothing = reduce(lambda empty, axis: empty.narrow(axis, 0, 0), self.plan.axes, answer).clone()
        self.sweep.begin("giving", answer)
        return answer

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
            "nothing": self._nothing,
            "passes": self._passes,
            "finished": self.finished,
            "plan": [list(self.plan.axes), self.plan.chunk, self.plan.strip],
            "states": self.sweep.state_dict(self.module),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Continue the stream that `state_dict` saved."""
        if saved["plan"] != [list(self.plan.axes), self.plan.chunk, self.plan.strip]:
            raise ValueError(
                f"the saved stream ran with plan {saved['plan']}, this one with {self.plan!r}: make them equal"
            )
        self._empty, self._nothing, self._passes = saved["empty"], saved["nothing"], saved["passes"]
        self.finished = saved["finished"]
        self.sweep.load_state_dict(self.module, saved["states"])
