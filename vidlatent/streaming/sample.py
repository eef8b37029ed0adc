"""Which few slabs of a clip stand for all: between its ends every slab is like its neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from vidlatent.streaming.engine import SlabStream
from vidlatent.streaming.meter import LiveStorage, empty_clip
from vidlatent.streaming.module import Barrier, Local, Sweepable
from vidlatent.streaming.plan import Plan
from vidlatent.streaming.window import H, T

Shape = tuple[int, ...]
_FEW = 2
"""Slabs that are not worth joining."""


@dataclass(frozen=True)
class Sample:
    """Slabs of `lengths` items along one axis in place of an axis of `length` in slabs of `thickness`.

    With `warm` the first is several in one, which brings all layers to work, and what waits in them at the end is left
    there: both are like no slab that the plan has. `holding` are the modules that wait for barriers to the axis' end,
    with those.
    """

    lengths: tuple[int, ...]
    thickness: int
    length: int
    warm: bool = False
    holding: Mapping[nn.Module, frozenset[nn.Module]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many slabs the plan has."""
        return ceil(self.length / self.thickness)

    @property
    def few(self) -> int:
        """How many of those these are."""
        return ceil(sum(self.lengths) / self.thickness)

    @property
    def missing(self) -> int:
        """How many are left out."""
        return self.total - self.few

    @property
    def left_out(self) -> int:
        """How many items those hold."""
        return self.length - sum(self.lengths)


@dataclass(frozen=True)
class _Layer:
    """What a layer waits for and how far it sees, in items of the clip; or which axes it holds back as a barrier."""

    lag: dict[int, float]
    span: dict[int, float]
    held: tuple[int, ...] = ()


class Sampler:
    """Samples for one module, on the meta device, and one shape of clip, which is looked at once.

    `fuses` says whether the module calls functions that must be kept together while it is counted.
    """

    def __init__(self, module: Sweepable, shape: Shape, dtype: torch.dtype, device: str) -> None:
        self.module, self.shape, self.dtype, self.device = module, shape, dtype, device
        self._scales: dict[nn.Module, dict[int, float]] = {}
        self._layers: list[_Layer] = []
        self._holding: dict[tuple[int, ...], dict[nn.Module, frozenset[nn.Module]]] = {}
        self._seen_lag: float | None = None
        self.fuses = True

    def sample(self, plan: Plan, axis: int) -> Sample:
        """Slabs until all layers are at work and halos full, one like all others, and the last.

        Those that pass until the slowest layer has something to do are joined, if that makes them fewer and no barrier
        holds slabs back.
        """
        thickness, length = plan.thickness(axis), self.shape[axis]
        lag, span = self._until_steady(plan, axis)
        holding = self._holding_modules(plan, axis)
        start, window = (ceil(items / thickness - 0.01) for items in (lag + span, span))
        lengths = _cut(length, thickness)
        # nothing waits for what follows: then the last is like all others
        last = int(bool(holding) or lag > 0 or lengths[-1] < thickness)
        if len(lengths) <= start + 1 + last:
            return Sample(lengths, thickness, length, holding=holding)
        lengths, after = (*lengths[: start + last], lengths[-1]), window + last
        waiting = len(lengths) - after
        if holding or waiting <= _FEW:
            return Sample(lengths, thickness, length, holding=holding)
        return Sample((sum(lengths[:waiting]), *lengths[waiting:]), thickness, length, warm=True)

    def items_behind(self, module: nn.Module, axis: int, items: float) -> int:
        """How many items come of so many of the clip, where a module holds them back or else behind it."""
        return round(items * self._scales[module][axis]) if module in self._scales else round(items)

    def _holding_modules(self, plan: Plan, axis: int) -> dict[nn.Module, frozenset[nn.Module]]:
        """Barriers along `axis` and all around them; of two axes that a barrier needs whole it holds back the outer."""
        key = (axis, *plan.axes)
        if key not in self._holding:
            modules = list(self.module.modules())
            barriers = {m for m in modules if isinstance(m, Sweepable) and _held_axis(m.axes, plan) == axis}
            around = ((m, barriers.intersection(m.modules())) for m in modules)
            self._holding[key] = {m: frozenset(inside) for m, inside in around if inside}
        return self._holding[key]

    def _until_steady(self, plan: Plan, axis: int) -> tuple[float, float]:
        """Items that pass until the slowest layer has something to do, and from there until its halo is full.

        A barrier gives out what it held once all of it has come: what is behind it does not wait for what is before.
        """
        if not self._layers:
            self._look_at_layers()
        most = lag = span = 0.0
        held = False
        for layer in self._layers:
            if _held_axis(layer.held, plan) == axis:
                held, lag = True, 0.0
            lag += layer.lag[axis]
            most, span = max(most, lag), max(span, layer.span[axis])
        return (most if held or axis == H else self._lag_of_frames(ceil(most))), span

    def _lag_of_frames(self, most: int) -> float:
        """The lag along T, at most `most`, which counts layers that crop the front as if they looked ahead."""
        if self._seen_lag is None:
            stream = SlabStream(self.module, Plan((T,), chunk=1))
            frame = empty_clip((*self.shape[:2], 1, *self.shape[3:]), self.dtype)
            with torch.no_grad(), LiveStorage(self.device, fuses=self.fuses):
                lags = range(min(most, self.shape[T] - 1))
                self._seen_lag = next((float(lag) for lag in lags if stream.push(frame).shape[T]), float(most))
        return min(self._seen_lag, most)

    def _look_at_layers(self) -> None:
        with self._watching(), torch.no_grad(), LiveStorage(self.device) as counter:
            self.module(empty_clip(self.shape, self.dtype))
        self.fuses = counter.fused

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Note what the layers are, in the order in which they run."""
        kinds, modules = (Local, Barrier), list(self.module.modules())
        hooks = [m.register_forward_pre_hook(self._look) for m in modules if isinstance(m, kinds)]
        hooks += [m.register_forward_hook(self._note_scale) for m in modules]
        yield
        for hook in hooks:
            hook.remove()

    def _note_scale(self, module: nn.Module, args: Any, answer: Any) -> None:
        x = args[0] if isinstance(module, Sweepable) and module.axes else answer  # what waits, or what came of it
        if isinstance(x, Tensor) and x.ndim == len(self.shape):
            self._scales[module] = {axis: x.shape[axis] / self.shape[axis] for axis in (T, H)}

    def _look(self, module: nn.Module, args: tuple[Tensor, ...]) -> Any:
        lag, span = {T: 0.0, H: 0.0}, {T: 0.0, H: 0.0}
        if isinstance(module, Barrier):
            self._layers.append(_Layer(lag, span, tuple(module.axes)))
            return
        assert isinstance(module, Local)
        for axis in (T, H):
            window, scale = module.windows[axis], self.shape[axis] / max(args[0].shape[axis], 1)
            lag[axis] = max(window.span - 1 - max(window.before, 0), 0) * scale  # a crop delays nothing but the first
            span[axis] = (window.span - 1) * scale
        self._layers.append(_Layer(lag, span))


def _held_axis(axes: tuple[int, ...], plan: Plan) -> int | None:
    """The axis along which a barrier over `axes` holds slabs back."""
    return next((axis for axis in plan.axes if axis in axes), None)


def _cut(length: int, thickness: int) -> tuple[int, ...]:
    """Slabs of a whole axis."""
    whole, rest = divmod(length, thickness)
    return (thickness,) * whole + ((rest,) if rest else ())
