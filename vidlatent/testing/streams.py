"""The contract of every sweepable module: cut anywhere, the answer stays."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from vidlatent.streaming import H, Plan, SlabStream, Sweepable, T
from vidlatent.streaming.state import concat

ALL_AXES: tuple[tuple[int, ...], ...] = ((T,), (H,), (T, H), (H, T))
_LETTERS: dict[int | str, int] = {"T": T, "H": H}
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
"""Largest allowed relative error: what another order of summation explains, and no more."""


def relative_error(got: Tensor, want: Tensor) -> float:
    """Largest absolute difference over the largest absolute value of `want`."""
    if not want.numel():
        return 0.0
    return ((got - want).abs().max() / want.abs().max().clamp_min(torch.finfo(want.dtype).tiny)).item()


def random_cuts(length: int, rng: random.Random, thickest: int) -> list[int]:
    """Cut `length` into random positive parts of at most `thickest`."""
    cuts = []
    while length:
        cuts.append(min(length, rng.randint(1, thickest)))
        length -= cuts[-1]
    return cuts


@torch.no_grad()
def assert_streams_exactly(
    module: Sweepable,
    x: Tensor,
    axes: Iterable[int | str | Sequence[int]] = ALL_AXES,
    partitions: int = 20,
    *,
    tolerance: float | None = None,
    seed: int = 0,
) -> float:
    """Assert that `module(x)` equals its sweeps over random partitions, and return the worst relative error.

    `x` is a clip `(B, C, T, H, W)`; `axes` are orders of swept axes, outer first: `"TH"` or `(T, H)` for strips within
    chunks, `"T"`, `(T,)` or `T` for one axis alone. Each is tried with `partitions` random partitions, half of them
    ended by a separate empty slab. `tolerance` defaults to 1e-12 in float64 and 1e-5 in float32. Raises
    `AssertionError` naming the axes and the partition that differ or fail, `ValueError` for axes that are none.
    """
    allowed = TOLERANCE[x.dtype] if tolerance is None else tolerance
    rng, want, worst = random.Random(seed), module(x), 0.0
    for order in map(_order, axes):
        for attempt in range(partitions):
            outer = random_cuts(x.shape[order[0]], rng, 6)
            inner = rng.randint(1, max(1, x.shape[order[-1]]))
            where = f"axes {order}, outer slabs {outer}" + (f", inner slabs of {inner}" if len(order) > 1 else "")
            try:
                got = _sweep(module, x, order, outer, inner, separate_end=attempt % 2 == 1)
            except Exception as failure:  # slabs that do not fit together, most often
                raise AssertionError(f"{where}: the sweep failed: {failure}") from failure
            assert got.shape == want.shape, f"{where}: shape {tuple(got.shape)}, whole clip {tuple(want.shape)}"
            error = relative_error(got, want)
            assert error <= allowed, f"{where}: relative error {error:.2e} exceeds {allowed:.0e}"
            worst = max(worst, error)
    return worst


def _order(axes: int | str | Sequence[int]) -> tuple[int, ...]:
    """Swept axes, outer first, from any of the ways to write them."""
    given = (axes,) if isinstance(axes, int) else tuple(_LETTERS.get(axis, axis) for axis in axes)
    for order in ALL_AXES:
        if order == given:
            return order
    raise ValueError(f"axes={axes!r}: an order is one of 'T', 'H', 'TH' and 'HT', or as numbers, T = {T}, H = {H}")


def _sweep(
    module: Sweepable, x: Tensor, order: Sequence[int], outer: list[int], inner: int, *, separate_end: bool
) -> Tensor:
    stream = SlabStream(module, Plan(tuple(order), chunk=inner, strip=inner))
    slabs = x.split(outer, order[0])
    pieces = [stream.push(slab, last=not separate_end and i == len(slabs) - 1) for i, slab in enumerate(slabs)]
    if separate_end:
        pieces.append(stream.finish())
    return concat(pieces, order[0])
