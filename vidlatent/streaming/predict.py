"""Predict what a plan needs and costs, by running its first few slabs on meta tensors.

Between the ends of a clip every slab is like its neighbours, so a short clip tells of a long one: long enough that the
slowest layer has begun to answer. What the slabs left out would have held is added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil, prod

import torch
from torch import Tensor

from vidlatent.streaming.engine import SlabStream
from vidlatent.streaming.meter import LiveStorage, empty_clip
from vidlatent.streaming.module import Barrier, Local, Pointwise, Sweepable
from vidlatent.streaming.plan import Plan
from vidlatent.streaming.state import Align, Gather, State, kept_in
from vidlatent.streaming.window import H, T

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Needs:
    """Bytes that a sweep holds at its peak and between slabs (wherever those lie), and what it does.

    Of the peak, `code_bytes` are there for slabs of any thickness. `calls` counts operators, `made_bytes` what they
    write, `moved_bytes` what goes off the device and back.
    """

    peak_bytes: int
    state_bytes: int = 0
    calls: float = 0.0
    made_bytes: float = 0.0
    moved_bytes: float = 0.0
    code_bytes: int = 0


class Predictor:
    """Predictions for one module, which must be on the meta device, and one shape of clip; each is made once."""

    def __init__(self, module: Sweepable, shape: Shape, dtype: torch.dtype, device: str = "cpu") -> None:
        self.module, self.shape, self.dtype, self.device = module, shape, dtype, device
        self._known: dict[Plan, Needs] = {}
        self._lags: dict[int, float] = {}
        self._spans: dict[int, float] = {}
        self._layers: dict[Plan, str] = {}
        self._counter = LiveStorage(device)
        self._name_layers()

    def needs(self, plan: Plan) -> Needs:
        """What the sweep that `plan` describes needs beside the weights, the clip and the answer."""
        if plan not in self._known:
            here = replace(plan, keep="device")
            counted = (self._whole(),) * 2 if not plan.axes else self._sweep(plan)
            code = self._counter.code_bytes
            away, everywhere = (replace(n, peak_bytes=n.peak_bytes + code, code_bytes=code) for n in counted)
            self._layers[here] = self._counter.at_peak
            self._known |= {here: everywhere, replace(plan, keep="host"): away, replace(plan, keep="file"): away}
        return self._known[plan]

    def layer_at_peak(self, plan: Plan) -> str:
        """Name of the layer at work when the sweep that `plan` describes needs most; it is where state is elsewhere."""
        self.needs(plan)
        return self._layers[replace(plan, keep="device")]

    def _name_layers(self) -> None:
        """Have every layer tell the counter its name."""

        def enter(name: str) -> Callable[..., None]:
            return lambda *_: setattr(self._counter, "here", name)

        for name, module in self.module.named_modules():
            if isinstance(module, (Local, Barrier, Pointwise)):
                module.register_forward_pre_hook(enter(name))

    def _count(self) -> LiveStorage:
        self._counter = LiveStorage(self.device)
        return self._counter

    def _few(self, plan: Plan, axis: int) -> int:
        """Slabs along `axis` until all layers are at work and halos full, one like all others, and the last."""
        thickness = plan.thickness(axis)
        return min(ceil(self.shape[axis] / thickness), ceil(self._until_steady(axis) / thickness - 0.01) + 2)

    def _whole(self) -> Needs:
        with torch.no_grad(), self._count() as counter:
            self.module(empty_clip(self.shape, self.dtype))  # a copy: the caller's may be laid out otherwise
        return Needs(counter.peak_bytes, 0, counter.calls, counter.made_bytes)

    def _sweep(self, plan: Plan) -> tuple[Needs, Needs]:
        """A sweep of few slabs along each axis, with its state off the device and on it.

        What the slabs left out would have held and done is added.
        """
        outer, shape, few, total = plan.axes[0], self.shape, {}, {}
        for axis in plan.axes:
            few[axis], total[axis] = self._few(plan, axis), ceil(self.shape[axis] / plan.thickness(axis))
            shape = _cut(shape, axis, few[axis] * plan.thickness(axis))
        missing = {axis: total[axis] - few[axis] for axis in plan.axes}
        slabs = empty_clip(shape, self.dtype).split(plan.thickness(outer), outer)
        # a slab is prepared whole before it is cut in strips
        uncut = prod(_cut(self.shape, outer, plan.thickness(outer))) * self.dtype.itemsize - slabs[0].nbytes
        stream = SlabStream(self.module, replace(plan, keep="file", budget_bytes=0))
        away = here = state = moved = 0
        with torch.no_grad(), self._count() as counter:
            counter.elsewhere = lambda: stream.sweep.shelf.absent_bytes
            for index, slab in enumerate(slabs):
                for strips in stream.rounds(slab.clone(), last=index == len(slabs) - 1):
                    counter.peak_bytes = counter.peak_everywhere_bytes = counter.live_bytes
                    for strip in strips:
                        del strip
                    held, seen = _held(stream, few, missing)
                    # two copies may wait to be written
                    away = max(away, counter.peak_bytes + uncut + 2 * stream.sweep.shelf.largest_bytes)
                    here = max(here, counter.peak_everywhere_bytes + uncut + held - seen)
                    state, moved = max(state, held), moved + 2 * held
        scale = prod(total.values()) / prod(few.values())
        done = scale * counter.calls, scale * counter.made_bytes
        return Needs(away, state, *done, moved * total[outer] / few[outer]), Needs(here, state, *done)

    def _until_steady(self, axis: int) -> float:
        """How many items of the clip pass until the slowest layer is at work and its halo is full."""
        if not self._lags:
            self._lags, self._spans = {T: 0.0, H: 0.0}, {T: 0.0, H: 0.0}
            with self._watching(), torch.no_grad(), LiveStorage(self.device):
                self.module(empty_clip(self.shape, self.dtype))
            self._lags[T] = self._seen_lag(ceil(self._lags[T]))
        return self._lags[axis] + self._spans[axis]

    def _seen_lag(self, most: int) -> float:
        """The lag along T, at most `most`, which counts layers that crop the front as if they looked ahead."""
        stream = SlabStream(self.module, Plan((T,), chunk=1))
        frame = empty_clip((*self.shape[:2], 1, *self.shape[3:]), self.dtype)
        with torch.no_grad(), LiveStorage(self.device):
            for lag in range(min(most, self.shape[T] - 1)):
                if stream.push(frame).shape[T]:
                    return float(lag)
        return float(most)

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Add up how far the layers look ahead, and note the largest window, in items of the clip."""
        hooks = [m.register_forward_pre_hook(self._look) for m in self.module.modules() if isinstance(m, Local)]
        yield
        for hook in hooks:
            hook.remove()

    def _look(self, module: torch.nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(module, Local)
        for axis in (T, H):
            window, scale = module.windows[axis], self.shape[axis] / max(args[0].shape[axis], 1)
            self._lags[axis] += max(window.span - 1 - window.before, 0) * scale
            self._spans[axis] = max(self._spans[axis], (window.span - 1) * scale)


def _held(stream: SlabStream, few: dict[int, int], missing: dict[int, int]) -> tuple[int, int]:
    """Bytes of state if `missing` more slabs took part along each axis than the `few` that did; and of those alone.

    More inner slabs hold what the largest holds. More outer ones hold nothing, but where a barrier has slabs waiting
    or a state grows.
    """
    parts: dict[tuple[int, ...], int] = {}
    seen = released = queued = grown = 0
    for axis, inner, state in stream.sweep.states():
        nbytes = sum(kept.nbytes for kept in kept_in(state))
        seen += nbytes
        if isinstance(state, State) and state.grows:  # held, and joined while it is used
            grown += 2 * nbytes * missing[axis] // few[axis]
        if axis != stream.outer:
            continue
        parts[inner] = parts.get(inner, 0) + nbytes
        if isinstance(state, Gather) and state.slabs:
            released = max(released, *(slab.nbytes for slab in state.slabs))
        if isinstance(state, Align):  # a few wait for a slow branch, nearly all for a barrier
            queued += sum(max(slab.nbytes for slab in queue) for queue in state.queues if len(queue) > few[axis] - 1)
    waiting = missing[stream.outer] * (released + queued)
    if stream.inner is None:
        return seen + grown + waiting, seen
    largest = max(parts.values(), default=0)
    return seen + grown + missing[stream.inner] * largest + waiting * len(parts), seen


def _cut(shape: Shape, axis: int, length: int) -> Shape:
    """`shape` with `axis` no longer than that."""
    return (*shape[:axis], min(shape[axis], length), *shape[axis + 1 :])
