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
from vidlatent.streaming.predict import Predictor
from vidlatent.streaming.sample import Shape
from vidlatent.streaming.search import Group, Search
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
    search = Search(
        _predictor(module, shape, dtype, device),
        budget,
        cost.CUDA if device.type == "cuda" else cost.CPU,
        held=weight_bytes(module) + held_bytes,
        clip=prod(shape) * dtype.itemsize,
        answer=output_bytes,
        streaming=streaming,
    )
    away: Keep = "host" if device.type == "cuda" else "file"
    tiers = (
        _tiers_of(chunk, shape, grain, away) if chunk else _tiers(search.predictor, grain, away, streaming=streaming)
    )
    for tier in tiers:
        found = search.fastest(tier)
        if found:
            return found
    smallest = search.smallest()
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


def _tiers(predictor: Predictor, grain: tuple[int, int], away: Keep, *, streaming: bool) -> Iterator[list[Group]]:
    """Tiers of groups of plans: the whole clip, one axis, two, and state off the device.

    Two axes take long to predict, so that each order of them is a tier, the one with fewer slabs first; state goes off
    the device in the order that moves fewer bytes, to host memory before one more axis is cut, to a file after that. An
    inner axis of frames is cut as thin as can be or a few times as thick; thinner saves little.
    """
    shape = predictor.shape
    chunks = [grain[0] * n for n in _CHUNKS if grain[0] * n < shape[T]] or [shape[T]]
    strips = [grain[1] * n for n in _STRIPS if grain[1] * n < shape[H]]
    finest, few = chunks[-1], chunks[-3:][0]
    if not streaming:
        yield [[Plan()]]
    alone = [[Plan((T,), chunk=chunk) for chunk in chunks], [] if streaming else [Plan((H,), strip=s) for s in strips]]
    elsewhere = [[replace(plan, keep=away) for plan in group] for group in alone]
    yield alone
    if away == "host":
        yield elsewhere
    orders: list[tuple[tuple[int, int], int]] = [((T, H), finest)]
    if not streaming:
        orders = list(dict.fromkeys([((H, T), few), *orders, ((H, T), finest)]))
    for axes, chunk in orders:
        yield [[Plan(axes, chunk=chunk, strip=strip) for strip in strips]]
    if away == "file":  # of frames: what a sweep of rows keeps lies there in many pieces
        yield elsewhere[:1]
    moves_least = min((group[-1] for group in alone if group), key=lambda plan: predictor.needs(plan).moved_bytes)
    axes = (T, H) if moves_least.axes == (T,) else (H, T)
    for keep in dict.fromkeys((away, "file")):
        yield [[Plan(axes, chunk=finest, strip=strip, keep=keep) for strip in strips]]


def _tiers_of(chunk: int, shape: Shape, grain: tuple[int, int], away: Keep) -> Iterator[list[Group]]:
    """The same where the chunk is given: whole, then in strips, and state off the device."""
    strips = [grain[1] * n for n in _STRIPS if grain[1] * n < shape[H]]
    yield [[Plan((T,), chunk=chunk)]]
    for keep in ("device", away):
        yield [[Plan((T, H), chunk=chunk, strip=strip, keep=keep) for strip in strips]]
