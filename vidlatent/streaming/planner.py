"""Choose how to cut a clip so that its sweep stays within a memory budget, as fast as can be."""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator
from dataclasses import replace
from math import prod

import torch

from vidlatent.errors import BudgetTooSmall, InputError
from vidlatent.streaming import cost
from vidlatent.streaming.meter import to_meta, weight_bytes
from vidlatent.streaming.module import Sweepable
from vidlatent.streaming.plan import Plan
from vidlatent.streaming.predict import Predictor, Shape
from vidlatent.streaming.shelf import Keep
from vidlatent.streaming.window import H, T

_UNITS = {"": 1, "B": 1} | {
    f"{letter}{kind}": (1024 if kind == "iB" else 1000) ** power
    for power, letter in enumerate("KMGT", 1)
    for kind in ("iB", "B")
}
_CHUNKS = (16, 8, 4, 2, 1)
_STRIPS = (64, 32, 16, 8, 4)
"""Thicknesses that are tried, in grains: few, because every new shape costs the operators."""
_PREDICTORS: weakref.WeakKeyDictionary[Sweepable, dict[object, Predictor]] = weakref.WeakKeyDictionary()


def parse_bytes(memory: int | str) -> int:
    """Read a budget: bytes, or a number with a unit such as "6GiB", "500MB", "1.5 GiB"."""
    if isinstance(memory, int) and not isinstance(memory, bool):
        budget: float = memory
    else:
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([A-Za-z]*)\s*", str(memory))
        if not match or match[2] not in _UNITS:
            raise InputError(
                f"memory={memory!r}: give bytes, or a number with one of {', '.join(filter(None, _UNITS))}"
            )
        budget = float(match[1]) * _UNITS[match[2]]
    if budget <= 0:
        raise InputError(f"memory={memory!r}: a budget is more than 0 bytes")
    return int(budget)


def plan_sweep(
    module: Sweepable,
    shape: Shape,
    memory: int | str,
    *,
    dtype: torch.dtype,
    grain: tuple[int, int] = (1, 1),
    output_bytes: int = 0,
    held_bytes: int = 0,
    streaming: bool = False,
    chunk: int | None = None,
) -> Plan:
    """Return the fastest plan found whose predicted peak fits `memory`.

    `shape` (B, C, T, H, W) is what is swept, `grain` the frames and rows that a slab is a multiple of, `output_bytes`
    the size of the whole answer, `held_bytes` what else lies in memory meanwhile. With `streaming` neither the clip nor
    the answer is held, only slabs along T; with `chunk` these are so many frames thick. State leaves the device only if
    nothing fits otherwise. Raises `BudgetTooSmall`, naming the smallest peak found.
    """
    budget, device = parse_bytes(memory), next(module.parameters()).device
    search = _Search(
        _predictor(module, shape, dtype, device),
        budget,
        held=weight_bytes(module) + held_bytes,
        clip=prod(shape) * dtype.itemsize,
        answer=output_bytes,
        streaming=streaming,
        cost_model=cost.CUDA if device.type == "cuda" else cost.CPU,
    )
    away: Keep = "host" if device.type == "cuda" else "file"
    for tier in _tiers_of(chunk, shape, grain, away) if chunk else _tiers(shape, grain, away, streaming=streaming):
        found = search.fastest(tier)
        if found:
            return found
    search.price_the_rest()
    smallest = search.smallest
    what, advice = f"a clip of {shape[2]}x{shape[3]}x{shape[4]}", ", or stream the clip frame by frame"
    if streaming:
        what, advice = f"a stream of {shape[3]}x{shape[4]} frames", ""
    raise BudgetTooSmall(
        f"no plan keeps {what} within {budget} bytes: the smallest needs {smallest.peak_bytes} ({smallest}), "
        f"{search.held} of them for weights and what else is held, most at layer "
        f"{search.predictor.layer_at_peak(smallest)!r}. Give at least that{advice}",
        smallest_bytes=smallest.peak_bytes,
    )


def _predictor(module: Sweepable, shape: Shape, dtype: torch.dtype, device: torch.device) -> Predictor:
    """The one for this module and shape: what it has predicted it need not predict again."""
    known = _PREDICTORS.setdefault(module, {})
    key = (shape, dtype, device.type)
    if key not in known:
        known[key] = Predictor(to_meta(module), shape, dtype, device.type)
    return known[key]


class _Search:
    """Looks for the fastest plan within a budget, and remembers the smallest it has seen."""

    def __init__(
        self,
        predictor: Predictor,
        budget: int,
        *,
        held: int,
        clip: int,
        answer: int,
        streaming: bool,
        cost_model: cost.Cost,
    ) -> None:
        self.predictor, self.budget, self.cost = predictor, budget, cost_model
        self.held, self.clip, self.answer, self.streaming = held, clip, answer, streaming
        self.smallest = Plan(peak_bytes=1 << 62)
        self._hopeless: list[Plan] = []

    def fastest(self, groups: list[list[Plan]]) -> Plan | None:
        """The cheapest of the coarsest plans that fit."""
        fitting = [plan for group in groups if group and (plan := self._coarsest(group))]
        return min(fitting, key=lambda plan: self.cost.seconds(self.predictor.needs(plan)), default=None)

    def _coarsest(self, group: list[Plan]) -> Plan | None:
        """The first of a group, coarse to fine, that fits, by bisection: a thinner slab never needs more."""
        if self._is_hopeless(group[-1]):
            self._hopeless.append(group[-1])
            return None
        found, low, high = self._priced(group[-1]), 0, len(group) - 1
        if found.peak_bytes > self.budget:
            return None
        while low < high:
            middle = (low + high) // 2
            priced = self._priced(group[middle])
            if priced.peak_bytes <= self.budget:
                found, high = priced, middle
            else:
                low = middle + 1
        return found

    def _is_hopeless(self, plan: Plan) -> bool:
        """Whether the outer axis's state alone, nearly that of a sweep along this axis only, is too much.

        That sweep is quick to predict, and mostly was.
        """
        if len(plan.axes) < 2 or plan.keep != "device":
            return False
        outer = plan.axes[0]
        alone = Plan((outer,), chunk=plan.chunk if outer == T else 0, strip=plan.strip if outer == H else 0)
        return self._held(plan) + 0.9 * self.predictor.needs(alone).state_bytes > self.budget

    def price_the_rest(self) -> None:
        """Price what was hopeless, so that the smallest plan does not depend on the budget."""
        for plan in self._hopeless:
            self._priced(plan)

    def _held(self, plan: Plan) -> int:
        """What lies there beside the sweep: weights, clip and answer, or of the latter two a slab."""
        if self.streaming:  # strips of the answer are joined
            return self.held + (self.clip + 2 * self.answer) * plan.chunk // self.predictor.shape[T]
        return self.held + self.clip + (self.answer if plan.axes else 0)  # a whole pass makes its answer itself

    def _priced(self, plan: Plan) -> Plan:
        needs = self.predictor.needs(plan)
        peak = with_slack(needs.peak_bytes + self._held(plan), self.predictor.device)
        plan = replace(plan, peak_bytes=peak, state_bytes=needs.state_bytes, budget_bytes=self.budget)
        self.smallest = min(self.smallest, plan, key=lambda p: p.peak_bytes)
        return plan


def _tiers(shape: Shape, grain: tuple[int, int], away: Keep, *, streaming: bool) -> Iterator[list[list[Plan]]]:
    """Tiers of groups of plans, each group coarse to fine: the whole clip, one axis, two, and state off the device.

    Two axes take long to predict, so that each order of them is a tier. An inner axis of frames is cut as thin as can
    be or a few times as thick; thinner saves little.
    """
    chunks = [grain[0] * n for n in _CHUNKS if grain[0] * n < shape[T]] or [shape[T]]
    strips = [grain[1] * n for n in _STRIPS if grain[1] * n < shape[H]]
    finest, few = chunks[-1], chunks[-3:][0]
    if not streaming:
        yield [[Plan()]]
    for keep in ("device", away) if away == "host" else ("device",):
        yield [
            [Plan((T,), chunk=chunk, keep=keep) for chunk in chunks],
            [] if streaming else [Plan((H,), strip=strip, keep=keep) for strip in strips],
        ]
    orders: list[tuple[tuple[int, int], int]] = [((T, H), finest)]
    if not streaming:  # the fewest slabs first
        orders = list(dict.fromkeys([((H, T), few), *orders, ((H, T), finest)]))
    for keep in dict.fromkeys(("device", away, "file")):
        for axes, chunk in orders:
            yield [[Plan(axes, chunk=chunk, strip=strip, keep=keep) for strip in strips]]


def _tiers_of(chunk: int, shape: Shape, grain: tuple[int, int], away: Keep) -> Iterator[list[list[Plan]]]:
    """The same where the chunk is given: whole, then in strips, and state off the device."""
    strips = [grain[1] * n for n in _STRIPS if grain[1] * n < shape[H]]
    yield [[Plan((T,), chunk=chunk)]]
    for keep in ("device", away):
        yield [[Plan((T, H), chunk=chunk, strip=strip, keep=keep) for strip in strips]]


def with_slack(counted: int, device: str) -> int:
    """Add what cannot be counted: gaps between blocks, and on a CPU the code that oneDNN compiles for new shapes.

    Measured by `python benchmarks/budget.py`.
    """
    return int(counted * 1.08) + (12 << 20 if device == "cpu" else 0)
