"""Predict what a plan needs and costs, by running a few slabs on meta tensors.

Between the ends of a clip every slab is like its neighbours, so a short clip tells of a long one (`sample`). What the
slabs left out would have held is added (`tally`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import prod

import torch
from torch import Tensor, nn

from vidlatent.streaming.meter import LiveStorage, empty_clip
from vidlatent.streaming.module import Barrier, Layer, Sweepable
from vidlatent.streaming.plan import Plan
from vidlatent.streaming.sample import Sample, Sampler, Shape
from vidlatent.streaming.sampled import SampledStream
from vidlatent.streaming.shelf import Keep
from vidlatent.streaming.tally import Needs, Tally


class Predictor:
    """Predictions for one module, which must be on the meta device, and one shape of clip; each is made once."""

    def __init__(self, module: Sweepable, shape: Shape, dtype: torch.dtype, device: str = "cpu") -> None:
        self.module, self.shape, self.dtype, self.device = module, shape, dtype, device
        self._known: dict[Plan, Needs] = {}
        self.sampler = Sampler(module, shape, dtype, device)
        self._samples: dict[int, Sample] = {}
        self._complete_notes()

    def needs(self, plan: Plan) -> Needs:
        """What the sweep that `plan` describes needs beside the weights, the clip and the answer."""
        if plan not in self._known:
            away, everywhere = self._sweep(plan) if plan.axes else (self._whole(),) * 2
            self._known |= {replace(plan, keep="host"): away, replace(plan, keep="file"): away}
            self._known[replace(plan, keep="device")] = everywhere
        return self._known[plan]

    def layer_at_peak(self, plan: Plan) -> str:
        """Name of the layer at work when the sweep that `plan` describes needs most; it is where state is elsewhere."""
        layer = self.needs(plan).at_peak
        return next((name for name, module in self.module.named_modules() if module is layer), "")

    def _complete_notes(self) -> None:
        """Have barriers whose notes come to much merge those of the slabs left out as well."""

        def complete(merge: Callable[..., list[Tensor]], notes: list[list[Tensor]], axis: int) -> list[Tensor]:
            missing, usual = self._samples[axis].missing if axis in self._samples else 0, notes[len(notes) // 2]
            return merge([*notes, *([torch.empty_like(x) for x in usual] for _ in range(missing))], axis)

        for module in self.module.modules():
            if isinstance(module, Barrier) and module.gathers:
                module.merge = partial(complete, module.merge)  # type: ignore[method-assign]

    def _counter(self) -> LiveStorage:
        return LiveStorage(self.device, fuses=self.sampler.fuses)

    def _whole(self) -> Needs:
        self._samples = {}
        with torch.no_grad(), self._counter() as counter:

            def enter(module: nn.Module, _: object) -> None:
                counter.here = lambda: module

            layers = [m for m in self.module.modules() if isinstance(m, Layer)]
            hooks = [layer.register_forward_pre_hook(enter) for layer in layers]
            self.module(empty_clip(self.shape, self.dtype))  # a copy: the caller's may be laid out otherwise
            for hook in hooks:
                hook.remove()
        needs = Needs(counter.peak_bytes, 0, counter.calls, counter.made_bytes, at_peak=counter.at_peak)
        return _with_code(needs, counter)

    def _sweep(self, plan: Plan) -> tuple[Needs, Needs]:
        """A sweep of few slabs along each axis, with its state off the device and on it.

        What the slabs left out would have held and done is added.
        """
        away: Keep = "host" if self.device == "cuda" else "file"
        stream = SampledStream(self.module, replace(plan, keep=away, budget_bytes=0), self.sampler)
        samples, shape, outer = stream.samples, self.shape, plan.axes[0]
        for axis, sample in samples.items():
            shape = _cut(shape, axis, sum(sample.lengths))
        self._samples = samples
        slabs = empty_clip(shape, self.dtype).split(list(samples[outer].lengths), outer)
        with torch.no_grad(), self._counter() as counter:
            tally = Tally(stream, counter)
            for index, slab in enumerate(slabs):
                # a slab is prepared whole before it is cut in strips
                uncut = prod(_cut(self.shape, outer, slab.shape[outer])) * self.dtype.itemsize - slab.nbytes
                rounds = stream.rounds(slab.clone(), last=index == len(slabs) - 1)
                tally.take(rounds, uncut, first=index == 0)
        stream.sweep.steps = None  # it and the counter would hold each other
        needs_away, needs_here = tally.needs()
        return _with_code(needs_away, counter), _with_code(needs_here, counter)


def _with_code(needs: Needs, counter: LiveStorage) -> Needs:
    code = counter.code_bytes
    return replace(needs, peak_bytes=needs.peak_bytes + code, code_bytes=code)


def _cut(shape: Shape, axis: int, length: int) -> Shape:
    """`shape` with `axis` no longer than that."""
    return (*shape[:axis], min(shape[axis], length), *shape[axis + 1 :])
