"""How thick pieces are inside a sweep: never more than what is pushed, at the end and behind barriers too."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import ORDERS, assert_close, examples, random_like, randomise, seeds
from torch import Tensor

from vidlatent.nn import (
    CausalFrameAttention,
    Chain,
    Concat,
    Conv3d,
    FrameAttention,
    GroupNorm,
    Nearest,
    Residual,
    SiLU,
)
from vidlatent.streaming import H, Plan, Pointwise, SlabStream, Sweepable, T, Window, run
from vidlatent.streaming.state import concat

CHUNK, STRIP = 2, 3
BARRIERS = {
    "clip norm": lambda: GroupNorm(2, 4, eps=1e-2),
    "frame norm": lambda: GroupNorm(2, 4, over="frame", eps=1e-2),
    "frame attention": lambda: FrameAttention(4),
    "causal attention": lambda: CausalFrameAttention(4, heads=2),
}


class Probe(Pointwise):
    """The identity; writes down what passes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def apply_to(self, x: Tensor) -> Tensor:
        if x.numel():
            self.seen.append((x.shape[T], x.shape[H]))
        return x


def probes(module: Sweepable) -> list[Probe]:
    return [part for part in module.modules() if isinstance(part, Probe)]


def thickest(module: Sweepable) -> tuple[int, int]:
    """Frames and rows of the largest piece that any probe has seen, each axis by itself."""
    frames, rows = zip(*(size for probe in probes(module) for size in probe.seen), strict=True)
    return max(frames), max(rows)


def sweep_exactly(module: Sweepable, x: Tensor, plan: Plan) -> Tensor:
    """The sweep's answer, which equals the whole clip's; afterwards the probes hold what the sweep showed them."""
    with torch.no_grad():
        want = module(x)
        for probe in probes(module):
            probe.seen.clear()
        got = run(module, x, plan)
    assert_close(got, want, str(plan))
    return got


def limits(plan: Plan, x: Tensor) -> tuple[int, int]:
    """How thick a piece may be: as pushed along swept axes, whole along the others."""
    return tuple(plan.thickness(axis) if axis in plan.axes else x.shape[axis] for axis in (T, H))


centred = st.builds(
    lambda k, m, d: Window.centred(2 * k + 1, mode=m, dilation=d),
    st.integers(0, 3),
    st.sampled_from(["zeros", "replicate", "reflect"]),
    st.integers(1, 2),
)


@examples(60)
@given(st.lists(centred, min_size=1, max_size=4), st.sampled_from(ORDERS), st.integers(1, 4), st.integers(0, 5), seeds)
def test_no_piece_of_a_centred_stack_is_thicker_than_a_slab(windows, order, thickness: int, more: int, seed) -> None:
    layers = [part for window in windows for part in (Conv3d(1, 1, t=window, h=window), Probe())]
    module = randomise(Chain(*layers), seed)
    # long enough that every layer answers before the end is announced
    length = sum(window.after for window in windows) + 2 * thickness + more
    sizes = [length if axis in order else 2 for axis in (T, H)]
    x = random_like(torch.empty(1, 1, *sizes, 1, dtype=torch.double), seed)
    plan = Plan(order, chunk=thickness, strip=thickness)
    sweep_exactly(module, x, plan)
    assert all(most <= limit for most, limit in zip(thickest(module), limits(plan, x), strict=True))


def test_a_stack_of_strides_and_upsampling_ends_as_thin_as_it_runs() -> None:
    three, down = Window.centred(3), Window(3, 2, 1, 1)
    module = Chain(
        Conv3d(4, 4, t=three, h=three),
        Probe(),
        Conv3d(4, 4, t=down, h=down),
        Probe(),
        Conv3d(4, 4, t=three, h=three),
        Nearest((2, 2, 1)),
        Probe(),
        Conv3d(4, 4, t=three, h=three),
        Probe(),
    )
    module, x = randomise(module, 0), random_like(torch.empty(1, 4, 24, 24, 2, dtype=torch.double), 1)
    for order in ORDERS:
        plan = Plan(order, chunk=4, strip=4)
        sweep_exactly(module, x, plan)
        for probe, scale in zip(probes(module), (1, 0.5, 1, 1), strict=True):
            frames, rows = (max(sizes) for sizes in zip(*probe.seen, strict=True))
            assert frames <= (4 * scale if T in order else 24)
            assert rows <= (4 * scale if H in order else 24)


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("kind", BARRIERS)
def test_slabs_leave_a_barrier_as_they_came(kind: str, order: tuple[int, ...]) -> None:
    module = randomise(Chain(Probe(), BARRIERS[kind](), Probe()), 3)
    x = random_like(torch.empty(2, 4, 7, 8, 2, dtype=torch.double), 4)
    sweep_exactly(module, x, Plan(order, chunk=CHUNK, strip=STRIP))
    came, left = (probe.seen for probe in probes(module))
    assert left == came
    assert len(set(came)) > 1  # the last slab is a thinner one


def convolution() -> Conv3d:
    return Conv3d(4, 4, t=Window.centred(3), h=Window.centred(3, mode="replicate"))


def between(*parts: Sweepable) -> Iterator[Sweepable]:
    """A probe behind each part."""
    for part in parts:
        yield from (part, Probe())


def shapes(one: Sweepable, two: Sweepable) -> dict[str, Chain]:
    """Two barriers in one model, every way round."""
    inner = Residual(Chain(*between(convolution(), two, convolution())))
    return {
        "serial": Chain(*between(one, two)),
        "serial with a halo between": Chain(*between(convolution(), one, convolution(), two, convolution())),
        "nested": Chain(*between(Residual(Chain(*between(one, inner, convolution()))), convolution())),
        "one branch": Chain(*between(Residual(Chain(*between(one, SiLU(), two))), convolution())),
        "the shortcut": Chain(*between(Residual(convolution(), Chain(one, two)), convolution())),
        "a branch each": Chain(
            *between(Concat(Chain(one, Probe()), Chain(convolution(), two, Probe()), Chain()), Conv3d(12, 4))
        ),
    }


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("kinds", [*pairwise(BARRIERS), ("causal attention", "clip norm")], ids=str)
@pytest.mark.parametrize("shape", shapes(Chain(), Chain()))
def test_what_is_behind_barriers_is_swept_too(shape: str, kinds: tuple[str, str], order: tuple[int, ...]) -> None:
    module = randomise(shapes(*(BARRIERS[kind]() for kind in kinds))[shape], 5)
    x = random_like(torch.empty(1, 4, 9, 11, 2, dtype=torch.double), 6)
    plan = Plan(order, chunk=CHUNK, strip=STRIP)
    sweep_exactly(module, x, plan)
    assert all(most <= limit for most, limit in zip(thickest(module), limits(plan, x), strict=True))


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_pieces_behind_a_barrier_come_in_rounds(order: tuple[int, ...]) -> None:
    module = randomise(Chain(convolution(), GroupNorm(2, 4), convolution()), 7)
    x, outer = random_like(torch.empty(1, 4, 8, 9, 2, dtype=torch.double), 8), order[0]
    plan, pieces = Plan(order, chunk=CHUNK, strip=STRIP), []
    stream = SlabStream(module, plan)
    slabs = x.split(plan.thickness(outer), outer)
    with torch.no_grad():
        for number, slab in enumerate(slabs):
            rounds = [concat(list(strips), order[-1]) for strips in stream.rounds(slab, last=number == len(slabs) - 1)]
            pieces.append([piece.shape[outer] for piece in rounds if piece.numel()])
    assert pieces[:-1] == [[]] * (len(slabs) - 1)
    assert len(pieces[-1]) >= len(slabs)
    assert max(pieces[-1]) <= plan.thickness(outer)
    assert sum(pieces[-1]) == x.shape[outer]
