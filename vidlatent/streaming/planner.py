"""Choose how to cut a clip so that its sweep stays within a memory budget."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import ceil, prod

import torch

from vidlatent.errors import BudgetTooSmall, InputError
from vidlatent.streaming.engine import SlabStream
from vidlatent.streaming.meter import LiveStorage, empty_clip, to_meta, weight_bytes
from vidlatent.streaming.module import Sweepable
from vidlatent.streaming.plan import Plan
from vidlatent.streaming.window import H, T

_UNITS = {"": 1, "B": 1} | {
    f"{letter}{kind}": (1024 if kind == "iB" else 1000) ** power
    for power, letter in enumerate("KMGT", 1)
    for kind in ("iB", "B")
}
_ROUNDS = 3
"""Outer slabs that are counted: the first, one with everything in it, and the last."""
_MANY = 4
"""Inner slabs beyond which the rest is extrapolated."""


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
    shape: tuple[int, ...],
    memory: int | str,
    *,
    dtype: torch.dtype,
    grain: tuple[int, int] = (1, 1),
    output_bytes: int = 0,
    streaming: bool = False,
) -> Plan:
    """Return the coarsest plan whose predicted peak fits `memory`; coarser is faster.

    `shape` (B, C, T, H, W) is what is swept, `grain` the frames and rows that a slab is a multiple of, `output_bytes`
    the size of the whole answer. With `streaming` neither the clip nor the answer is held, only slabs along T. Raises
    `BudgetTooSmall`, naming the smallest peak found.
    """
    budget, counted, smallest = parse_bytes(memory), to_meta(module), None
    held = 0 if streaming else output_bytes + prod(shape) * dtype.itemsize
    price = partial(predict, counted, shape, dtype=dtype, held_bytes=held)
    for group in _candidates(shape, grain, streaming=streaming):
        # within a group a thinner slab never needs more: if the thinnest does not fit, no other does
        finest = price(group[-1])
        if finest.peak_bytes <= budget:
            return _coarsest(group, finest, price, budget)
        if smallest is None or finest.peak_bytes < smallest.peak_bytes:
            smallest = finest
    assert smallest is not None
    raise BudgetTooSmall(
        f"no plan keeps a clip of {shape[2]}x{shape[3]}x{shape[4]} within {budget} bytes: the smallest needs "
        f"{smallest.peak_bytes} ({smallest}). Give at least that, or stream the clip frame by frame",
        smallest_bytes=smallest.peak_bytes,
    )


def _coarsest(group: list[Plan], finest: Plan, price: Callable[[Plan], Plan], budget: int) -> Plan:
    """The first plan of a group within the budget, by bisection: `finest`, its last, is."""
    found, low, high = finest, 0, len(group) - 1
    while low < high:
        middle = (low + high) // 2
        priced = price(group[middle])
        if priced.peak_bytes <= budget:
            found, high = priced, middle
        else:
            low = middle + 1
    return found


def predict(module: Sweepable, shape: tuple[int, ...], plan: Plan, *, dtype: torch.dtype, held_bytes: int = 0) -> Plan:
    """Return `plan` with its peak and its state, counted on meta tensors; `module` must be on the meta device."""
    peak, state = _measure(module, shape, plan, dtype)
    return replace(plan, peak_bytes=peak + weight_bytes(module) + held_bytes, state_bytes=state)


def _measure(module: Sweepable, shape: tuple[int, ...], plan: Plan, dtype: torch.dtype) -> tuple[int, int]:
    """Peak and state of a sweep, from its first few slabs: every slab between the ends is like the others."""
    if not plan.axes:
        with torch.no_grad(), LiveStorage() as counter:
            x = empty_clip(shape, dtype)
            module(x)
        return counter.peak_bytes - x.nbytes, 0
    shape = _cut(shape, plan, plan.axes[0], _ROUNDS)
    inner = plan.axes[-1]
    count = ceil(shape[inner] / plan.thickness(inner))
    if len(plan.axes) == 1 or count <= _MANY:
        return _run(module, shape, plan, dtype)
    # each further inner slab adds the same: its part of the state, of the outer slab and of the answer
    less, more = (_run(module, _cut(shape, plan, inner, n), plan, dtype) for n in (_MANY // 2, _MANY))
    beyond = (count - _MANY) / (_MANY - _MANY // 2)
    peak, state = (int(b + beyond * (b - a)) for a, b in zip(less, more, strict=True))
    return peak, state


def _cut(shape: tuple[int, ...], plan: Plan, axis: int, slabs: int) -> tuple[int, ...]:
    """`shape` with `axis` no longer than so many slabs."""
    return (*shape[:axis], min(shape[axis], slabs * plan.thickness(axis)), *shape[axis + 1 :])


def _run(module: Sweepable, shape: tuple[int, ...], plan: Plan, dtype: torch.dtype) -> tuple[int, int]:
    """Peak and state of the whole sweep over `shape`."""
    outer, state = plan.axes[0], 0
    slabs = empty_clip(shape, dtype).split(plan.thickness(outer), outer)
    stream = SlabStream(module, plan)
    with torch.no_grad(), LiveStorage() as counter:
        for index, slab in enumerate(slabs):
            stream.push(slab, last=index == len(slabs) - 1)
            state = max(state, stream.sweep.state_bytes)
    return counter.peak_bytes, state


def _candidates(shape: tuple[int, ...], grain: tuple[int, int], *, streaming: bool) -> list[list[Plan]]:
    """Groups of plans, coarse to fine: the whole clip, frames, frames cut in strips, strips cut in frames."""
    chunks = [grain[0] * n for n in (16, 8, 4, 2, 1) if grain[0] * n < shape[T]] or [shape[T]]
    strips = [grain[1] * n for n in (64, 32, 16, 8, 4, 2) if grain[1] * n < shape[H]]
    frames = [Plan((T,), chunk=chunk) for chunk in chunks]
    frames_in_strips = [Plan((T, H), chunk=chunks[-1], strip=strip) for strip in strips]
    strips_in_frames = [Plan((H, T), chunk=chunks[-1], strip=strip) for strip in strips]
    groups = [frames, frames_in_strips] if streaming else [[Plan()], frames, frames_in_strips, strips_in_frames]
    return [group for group in groups if group]
