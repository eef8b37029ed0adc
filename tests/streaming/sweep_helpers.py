"""Definitions to test against, written index by index, and hypothesis strategies for windows and partitions."""

import os
from collections.abc import Sequence

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vidlatent.streaming import H, Plan, SlabStream, Sweepable, T, Window

ORDERS = ((T,), (H,), (T, H), (H, T))
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def examples(count: int) -> settings:
    """Settings of a property; in CI the same examples every time."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize="CI" in os.environ,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        print_blob=True,
    )


def windows(kernel: int = 4, stride: int = 3, reach: int = 4, crop: int = 2, dilation: int = 2) -> st.SearchStrategy:
    """Any window up to these sizes, cropping ones and kernels smaller than their stride among them."""
    padding = st.integers(-crop, reach)
    modes = st.sampled_from(["zeros", "replicate", "reflect"])
    sizes = st.integers(1, kernel), st.integers(1, stride), padding, padding, modes, st.integers(1, dilation)
    return st.builds(Window, *sizes)


def partitions(length: int, cuts: int = 5) -> st.SearchStrategy:
    """Any cut of `length` into slabs, empty ones among them, at the ends as well."""
    points = st.lists(st.integers(0, length), max_size=cuts).map(sorted)
    return points.map(lambda p: [b - a for a, b in zip([0, *p], [*p, length], strict=True)])


seeds = st.integers(0, 2**31)
dtypes = st.sampled_from([torch.float64, torch.float64, torch.float32])


@st.composite
def clips(draw: st.DrawFn, channels: int = 3, t: int = 9, h: int = 7, w: int = 3, batch: int = 2) -> Tensor:
    """A random clip of at most these sizes, each axis at least 1 long, in either memory layout."""
    shape = [draw(st.integers(1, batch)), channels, *(draw(st.integers(1, size)) for size in (t, h, w))]
    x = random_like(torch.empty(shape, dtype=draw(dtypes)), draw(seeds))
    return x.to(memory_format=torch.channels_last_3d) if draw(st.booleans()) else x


def random_like(x: Tensor, seed: int) -> Tensor:
    return torch.randn(x.shape, dtype=torch.double, generator=torch.Generator().manual_seed(seed)).to(x.dtype)


def randomise(module: nn.Module, seed: int, dtype: torch.dtype = torch.double) -> nn.Module:
    """Give every parameter a value that matters (an identity norm or a zero bias would hide mistakes)."""
    module = module.to(dtype)
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            parameter.copy_(random_like(parameter, seed + number) * 0.5 + (1 if parameter.ndim == 1 else 0))
    return module


def source(position: int, length: int, mode: str) -> int | None:
    """Which item of an axis a window sees at `position`, inside or outside it; None for a zero."""
    if 0 <= position < length:
        return position
    if mode == "zeros":
        return None
    if mode == "replicate" or length == 1:
        return 0 if position < 0 else length - 1
    here, step = (0, 1) if position < 0 else (length - 1, -1)  # walk away from the edge, turn round at each end
    for _ in range(-position if position < 0 else position - length + 1):
        if not 0 <= here + step < length:
            step = -step
        here += step
    return here


def extend(x: Tensor, axis: int, window: Window) -> Tensor:
    """The axis as the window sees it: padded or cropped, item by item."""
    length = x.shape[axis]
    places = [source(i, length, window.mode) for i in range(-window.before, length + window.after)] if length else []
    items = [torch.zeros_like(x.select(axis, 0)) if i is None else x.select(axis, i) for i in places]
    return torch.stack(items, axis) if items else x.narrow(axis, 0, 0)


def drive(
    module: Sweepable, x: Tensor, order: Sequence[int], cuts: Sequence[int], inner: int = 1, *, finish: bool = False
) -> Tensor:
    """Sweep `module` over `x` with the outer axis cut as `cuts` says, ended by its last slab or separately."""
    stream = SlabStream(module, Plan(tuple(order), chunk=inner, strip=inner))
    slabs = x.split(list(cuts), order[0])
    pieces = [stream.push(slab, last=not finish and i == len(slabs) - 1) for i, slab in enumerate(slabs)]
    pieces += [stream.finish()] if finish else []
    return torch.cat([p for p in pieces if p.shape[order[0]]] or pieces[-1:], order[0])


def assert_close(got: Tensor, want: Tensor, message: str = "", tolerance: float | None = None) -> None:
    """Same shape, same type, and equal up to the order of summation (of numbers near 1)."""
    assert got.shape == want.shape, f"{message}: shape {tuple(got.shape)}, expected {tuple(want.shape)}"
    assert got.dtype == want.dtype, f"{message}: {got.dtype}, expected {want.dtype}"
    if want.numel():
        error = ((got - want).abs().max() / want.abs().max().clamp_min(1)).item()
        assert error <= (tolerance or TOLERANCE[want.dtype]), f"{message}: relative error {error:.1e}"


def assert_sweeps(data: st.DataObject, module: Sweepable, x: Tensor, orders: Sequence[Sequence[int]] = ORDERS) -> None:
    """The whole pass equals a sweep in each order, over partitions that hypothesis draws."""
    with torch.no_grad():
        want = module(x)
        for order in orders:
            cuts = data.draw(partitions(x.shape[order[0]]), label=f"cuts along {order[0]}")
            inner = data.draw(st.integers(1, x.shape[order[-1]]), label="inner thickness")
            finish = data.draw(st.booleans(), label="finish apart")
            got = drive(module, x, order, cuts, inner, finish=finish)
            assert_close(got, want, f"axes {order}, slabs {cuts}, inner slabs of {inner}, finish apart {finish}")
