"""Predict what a plan needs and costs, by running its first few slabs on meta tensors.

Between the ends of a clip every slab is like its neighbours, so a short clip tells of a long one: long enough that the
slowest layer has begun to answer. What the slabs left out would have held is added.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, prod

import torch
from torch import Tensor

from vidlatent.streaming.engine import SlabStream
from vidlatent.streaming.meter import LiveStorage, empty_clip
from vidlatent.streaming.module import Local, Sweepable
from vidlatent.streaming.plan import Plan
from vidlatent.streaming.state import Align, Gather, kept_in
from vidlatent.streaming.window import H, T

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Needs:
    """Bytes that a sweep holds at its peak and between slabs (wherever those lie), and what it does.

    `calls` counts operators, `made_bytes` what they write, `moved_bytes` what goes off the device and back.
    """

    peak_bytes: int
    state_bytes: int = 0
    calls: float = 0.0
    made_bytes: float = 0.0
    moved_bytes: float = 0.0


class Predictor:
    """Predictions for one module, which must be on the meta device, and one shape of clip; each is made once."""

    def __init__(self, module: Sweepable, shape: Shape, dtype: torch.dtype, device: str = "cpu") -> None:
        self.module, self.shape, self.dtype, self.device = module, shape, dtype, device
        self._known: dict[Plan, Needs] = {}
        self._lags: dict[int, float] = {}

    def needs(self, plan: Plan) -> Needs:
        """What the sweep that `plan` describes needs beside the weights, the clip and the answer."""
        if plan not in self._known:
            self._known[plan] = self._predict(plan)
        return self._known[plan]

    def knows(self, plan: Plan) -> bool:
        """Whether that was predicted before."""
        return plan in self._known

    def _predict(self, plan: Plan) -> Needs:
        if not plan.axes:
            return self._whole()
        return self._sweep(plan)

    def _few(self, plan: Plan, axis: int, more: int) -> int:
        """Slabs along `axis` after which all layers are at work, and `more`."""
        thickness = plan.thickness(axis)
        return min(ceil(self.shape[axis] / thickness), ceil(self._lag(axis) / thickness - 0.01) + more)

    def _whole(self) -> Needs:
        with torch.no_grad(), LiveStorage(self.device) as counter:
            self.module(empty_clip(self.shape, self.dtype))  # a copy: the caller's may be laid out otherwise
        return Needs(counter.peak_bytes, 0, counter.calls, counter.made_bytes)

    def _sweep(self, plan: Plan) -> Needs:
        """A sweep of few slabs along each axis; what the others would have held and done is added."""
        outer, shape, few, total = plan.axes[0], self.shape, {}, {}
        for axis, more in zip(plan.axes, (2, 1), strict=False):
            few[axis], total[axis] = self._few(plan, axis, more), ceil(self.shape[axis] / plan.thickness(axis))
            shape = _cut(shape, axis, few[axis] * plan.thickness(axis))
        missing = {axis: total[axis] - few[axis] for axis in plan.axes}
        slabs = empty_clip(shape, self.dtype).split(plan.thickness(outer), outer)
        stream, peak, state, moved, away = SlabStream(self.module, plan), 0, 0, 0.0, plan.keep != "device"
        with torch.no_grad(), LiveStorage(self.device) as counter:
            for index, slab in enumerate(slabs):
                for strips in stream.rounds(slab.clone(), last=index == len(slabs) - 1):
                    counter.peak_bytes = counter.live_bytes
                    for strip in strips:
                        del strip
                    held = _held(stream, few[outer], missing)
                    peak = max(peak, counter.peak_bytes + (0 if away else held - stream.sweep.state_bytes))
                    state = max(state, held)
                    moved += 2 * held * away
        scale = prod(total.values()) / prod(few.values())
        moved *= total[outer] / few[outer]
        return Needs(peak, state, scale * counter.calls, scale * counter.made_bytes, moved)

    def _lag(self, axis: int) -> float:
        """How many items of the clip later than where it stands the slowest answer needs, at most."""
        if not self._lags:
            self._lags = {T: 0.0, H: 0.0}
            with self._watching(), torch.no_grad(), LiveStorage(self.device):
                self.module(empty_clip(self.shape, self.dtype))
        return self._lags[axis]

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Add up how far every layer looks ahead, in items of the clip."""
        hooks = [m.register_forward_pre_hook(self._look) for m in self.module.modules() if isinstance(m, Local)]
        yield
        for hook in hooks:
            hook.remove()

    def _look(self, module: torch.nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(module, Local)
        for axis in (T, H):
            window, length = module.windows[axis], max(args[0].shape[axis], 1)
            ahead = max(window.span - 1 - window.before, 0)
            self._lags[axis] += ahead * self.shape[axis] / length


def _held(stream: SlabStream, few: int, missing: dict[int, int]) -> int:
    """Bytes of state if `missing` more slabs took part along each axis.

    More inner slabs hold what the largest holds. More outer ones hold nothing, but where a barrier has slabs waiting.
    """
    parts: dict[tuple[int, ...], int] = {}
    released = queued = 0
    for axis, inner, state in stream.sweep.states():
        if axis == stream.outer:
            parts[inner] = parts.get(inner, 0) + sum(kept.nbytes for kept in kept_in(state))
            if isinstance(state, Gather) and state.slabs:
                released = max(released, max(slab.nbytes for slab in state.slabs))
            if isinstance(state, Align):  # a few wait for a slow branch, nearly all for a barrier
                queued += sum(max(slab.nbytes for slab in queue) for queue in state.queues if len(queue) > few - 1)
    waiting = missing[stream.outer] * (released + queued)
    if stream.inner is None:
        return stream.sweep.state_bytes + waiting
    largest = max(parts.values(), default=0)
    return stream.sweep.state_bytes + missing[stream.inner] * largest + waiting * len(parts)


def _cut(shape: Shape, axis: int, length: int) -> Shape:
    """`shape` with `axis` no longer than that."""
    return (*shape[:axis], min(shape[axis], length), *shape[axis + 1 :])
