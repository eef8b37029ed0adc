"""Choose how to cut a clip so that its sweep stays within a memory budget."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from math import prod

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
    for plan in _candidates(shape, grain, streaming=streaming):
        priced = predict(counted, shape, plan, dtype=dtype, held_bytes=held)
        if priced.peak_bytes <= budget:
            return priced
        if smallest is None or priced.peak_bytes < smallest.peak_bytes:
            smallest = priced
    assert smallest is not None
    raise BudgetTooSmall(
        f"no plan keeps a clip of {shape[2]}x{shape[3]}x{shape[4]} within {memory}: the smallest needs "
        f"{smallest.peak_bytes / 2**20:.0f} MiB ({smallest}). Give at least that, or stream the clip frame by frame",
        smallest_bytes=smallest.peak_bytes,
    )


def predict(module: Sweepable, shape: tuple[int, ...], plan: Plan, *, dtype: torch.dtype, held_bytes: int = 0) -> Plan:
    """Return `plan` with its peak and its state, counted on meta tensors; `module` must be on the meta device."""
    peak, state = _measure(module, shape, plan, dtype)
    return replace(plan, peak_bytes=peak + weight_bytes(module) + held_bytes, state_bytes=state)


def _measure(module: Sweepable, shape: tuple[int, ...], plan: Plan, dtype: torch.dtype) -> tuple[int, int]:
    state = 0
    with torch.no_grad():
        if not plan.axes:
            x = empty_clip(shape, dtype)
            with LiveStorage() as counter:
                module(x)
            return counter.peak_bytes, 0
        outer, thickness = plan.axes[0], plan.thickness(plan.axes[0])
        length = min(shape[outer], _ROUNDS * thickness)
        slabs = empty_clip((*shape[:outer], length, *shape[outer + 1 :]), dtype).split(thickness, outer)
        stream = SlabStream(module, plan)
        with LiveStorage() as counter:
            for index, slab in enumerate(slabs):
                stream.push(slab, last=index == len(slabs) - 1)
                state = max(state, stream.sweep.state_bytes)
    return counter.peak_bytes, state


def _candidates(shape: tuple[int, ...], grain: tuple[int, int], *, streaming: bool) -> Iterator[Plan]:
    """Plans from coarse to fine: the whole clip, frames, frames cut in strips, strips cut in frames."""
    chunks = [grain[0] * n for n in (16, 8, 4, 2, 1) if grain[0] * n < shape[T]] or [shape[T]]
    strips = [grain[1] * n for n in (64, 32, 16, 8, 4, 2) if grain[1] * n < shape[H]]
    if not streaming:
        yield Plan()
    for chunk in chunks:
        yield Plan((T,), chunk=chunk)
    for strip in strips:
        yield Plan((T, H), chunk=chunks[-1], strip=strip)
    if not streaming:
        for strip in strips:
            yield Plan((H, T), chunk=chunks[-1], strip=strip)
