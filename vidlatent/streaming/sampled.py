"""A sweep of the few slabs that stand for all, on meta tensors."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from typing import Any

from torch import Tensor, nn

from vidlatent.streaming.engine import SlabStream
from vidlatent.streaming.meter import LiveStorage
from vidlatent.streaming.module import Layer, Sweepable
from vidlatent.streaming.plan import Plan
from vidlatent.streaming.repeats import Repeats
from vidlatent.streaming.sample import Sampler
from vidlatent.streaming.shelf import Keep, Kept, Shelf
from vidlatent.streaming.state import Align, Halo, State, kept_in
from vidlatent.streaming.steps import modules_named, name_of
from vidlatent.streaming.sweep import Answer, Kind, Sweep

_GAPS = 2
"""What a step takes with gaps between its blocks, at most: so many times what is live at once."""


class Count:
    """Counts what steps take above what is live when they begin: on the device, and with what is away from it.

    That is all they make, as what was freed meanwhile is often of another size, but no more than `_GAPS` times what
    is live at once.
    """

    def __init__(self, counter: LiveStorage, shelf: Shelf) -> None:
        self.counter, self._shelf = counter, shelf
        self.begun = self._made = self._put = 0
        self._most: dict[Hashable, tuple[int, int]] = {}
        self._step: Hashable = None

    def begin(self, step: Hashable) -> None:
        """The step before has ended."""
        counter, put = self.counter, self._shelf.put_bytes
        above, everywhere = counter.above_mark()
        if self._step is not None and not counter.pauses:
            known, made = self._most.get(self._step, (0, 0)), counter.made_bytes - self._made
            away = min(max(above, made), int(_GAPS * above))
            here = min(max(everywhere, made + put - self._put), int(_GAPS * everywhere))
            self._most[self._step] = max(known[0], away), max(known[1], here)
        counter.mark()
        self._made, self._put = counter.made_bytes, put
        self.begun += 1
        self._step = step

    def by_name(self, root: nn.Module) -> tuple[dict[str, int], dict[str, int]]:
        """Bytes by the name of the step, with state away from the device and with state on it."""
        names = modules_named(root)
        named = {name: most for step, most in self._most.items() if (name := name_of(step, names)) is not None}
        return {name: away for name, (away, _) in named.items()}, {name: here for name, (_, here) in named.items()}


class _SampledSweep(Sweep):
    """States to which every slab adds hold, from their second slab on, what those left out would have added as well.

    `at_work` is the leaf that runs. While it is counted, what leaves did before they need not do again, and what steps
    take is noted.
    """

    missing: Callable[[nn.Module, int], int]
    at_work: nn.Module | None = None
    steps: Count | None = None

    def __init__(self, *axes: int, keep: Keep) -> None:
        super().__init__(*axes, keep=keep)
        self._repeats = Repeats()
        self._longer: dict[int, weakref.ref[State]] = {}

    def state(self, module: nn.Module, axis: int, kind: type[Kind], *, shared: bool = False) -> Kind:
        state = super().state(module, axis, kind, shared=shared)
        if issubclass(kind, State) and kind.grows:
            self._lengthen(state, module, axis)
        return state

    def begin(self, step: Hashable, *inputs: Tensor | Kept | None) -> None:  # noqa: ARG002
        if self.steps:
            self.steps.begin(step)
        leaf = step[0] if isinstance(step, tuple) else step
        if isinstance(leaf, Layer):  # not what joins branches
            self.at_work = leaf

    def attempt(self, operation: Callable[..., Answer], *args: Any, **kwargs: Any) -> Answer:
        if self.steps is None or kwargs:
            return operation(*args, **kwargs)
        answer: Answer = self._repeats.run(self.steps.counter, operation, args)
        return answer

    def _lengthen(self, state: Any, module: nn.Module, axis: int) -> None:
        known, count = self._longer.get(id(state)), self.missing(module, axis)
        if count and kept_in(state) and not (known and known() is state):
            self._longer[id(state)] = weakref.ref(state)
            with self.steps.counter.unmarked() if self.steps else nullcontext():  # no step takes this
                state.lengthen(count)


class SampledStream(SlabStream):
    """A stream through the samples of its axes."""

    def __init__(self, module: Sweepable, plan: Plan, sampler: Sampler) -> None:
        super().__init__(module, plan)
        self.samples = {axis: sampler.sample(plan, axis) for axis in plan.axes}
        self.items_behind = sampler.items_behind
        self.sweep: _SampledSweep = _SampledSweep(*plan.axes, keep=plan.keep)
        left_out = {axis: sample.left_out for axis, sample in self.samples.items()}  # no `self`: a cycle would be kept
        self.sweep.missing = lambda module, axis: sampler.items_behind(module, axis, left_out[axis])

    def forget_thickness(self, axis: int) -> None:
        """Have modules go on as if the first slab along `axis` had come in as many as were joined in it."""
        for module, _, state in self.sweep.states(axis):
            if isinstance(state, Halo):
                state.widest = 0
            if isinstance(state, Align):
                thickness = max(1, self.items_behind(module, axis, self.plan.thickness(axis)))
                state.queues = [_split(queue, thickness, axis, state.shelf) for queue in state.queues]

    def _strips(self, slab: Tensor) -> Sequence[Tensor]:
        assert self.inner is not None
        return slab.split(list(self.samples[self.inner].lengths), self.inner)

    def _goes_on(self, index: int, inner_ended: bool) -> bool:
        assert self.inner is not None
        sample = self.samples[self.inner]
        return index < len(sample.lengths) if sample.warm else super()._goes_on(index, inner_ended)


def _split(slabs: list[Tensor | Kept], thickness: int, axis: int, shelf: Shelf) -> list[Tensor | Kept]:
    """The same in thinner slabs."""
    pieces = (piece for slab in slabs for piece in shelf.get(slab).split(thickness, axis))
    return [shelf.put(piece) for piece in pieces]
