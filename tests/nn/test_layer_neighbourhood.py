"""Attention among neighbours against windows written index by index, as NATTEN defines them."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import ORDERS, assert_close, assert_sweeps, examples, random_like, seeds
from torch import Tensor

from vidlatent.errors import InputError
from vidlatent.nn import Chain, Conv3d, Residual
from vidlatent.nn.neighbourhood import NeighbourhoodAttention
from vidlatent.streaming import H, Plan, SlabStream, T, Window, run
from vidlatent.streaming.meter import LiveStorage, empty_clip
from vidlatent.testing import assert_streams_exactly

_DIM = 2


def window(place: int, length: int, kernel: int) -> slice:
    """Centred, or moved until it lies inside."""
    start = min(max(place - kernel // 2, 0), length - kernel)
    return slice(start, start + kernel)


def by_definition(x: Tensor, kernel: tuple[int, int, int]) -> Tensor:
    """One query at a time."""
    queries, keys, values = (part.unflatten(-1, (-1, _DIM)) for part in x.permute(0, 2, 3, 4, 1).chunk(3, -1))
    out = torch.empty_like(queries)
    extent = x.shape[T:]
    for place in product(*map(range, extent)):
        seen = (slice(None), *(window(*axis) for axis in zip(place, extent, kernel, strict=True)))
        k, v = (part[seen].flatten(1, 3) for part in (keys, values))
        scores = torch.einsum("bhd,bnhd->bhn", queries[(slice(None), *place)], k) / _DIM**0.5
        out[(slice(None), *place)] = torch.einsum("bhn,bnhd->bhd", scores.softmax(-1), v)
    return out.flatten(-2).permute(0, 4, 1, 2, 3)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, tuple[int, int, int]]:
    """A clip, and a kernel no larger than it."""
    kernel = tuple(draw(st.sampled_from([1, 3, 5])) for _ in range(3))
    extent = [size + draw(st.integers(0, 5)) for size in kernel]
    shape = draw(st.integers(1, 2)), 3 * _DIM * draw(st.integers(1, 2)), *extent
    dtype = draw(st.sampled_from([torch.float64, torch.float64, torch.float32]))
    return random_like(torch.empty(shape, dtype=dtype), draw(seeds)), kernel


@examples(60)
@given(data=st.data(), case=cases())
def test_windows_are_moved_inwards_and_sweeps_are_exact(data, case) -> None:
    x, kernel = case
    module = NeighbourhoodAttention(kernel, _DIM)
    assert_close(module(x), by_definition(x, kernel))
    assert_sweeps(data, module, x)


def test_more_columns_than_a_tile() -> None:
    x = random_like(torch.empty(1, 3 * _DIM, 2, 9, 13, dtype=torch.double), 0)
    assert_close(NeighbourhoodAttention((1, 5, 3), _DIM)(x), by_definition(x, (1, 5, 3)))


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_inside_a_model_sweeps_exactly(order: tuple[int, ...]) -> None:
    three = Window.centred(3)
    layers = [
        Residual(Chain(Conv3d(4, 12, t=three, h=three), NeighbourhoodAttention((3, 5, 3), _DIM))) for _ in range(2)
    ]
    model = Chain(*layers).double().requires_grad_(False)
    x = random_like(torch.empty(2, 4, 7, 8, 3, dtype=torch.double), 3)
    want = model(x)
    for thickness in (1, 2, 3):
        assert_close(run(model, x, Plan(order, chunk=thickness, strip=thickness)), want)


def test_a_frame_waits_for_half_a_window_and_the_first_for_a_whole_one() -> None:
    stream, frame = SlabStream(NeighbourhoodAttention((5, 1, 1), _DIM), Plan((T,), chunk=1)), torch.randn(1, 6, 1, 2, 2)
    assert [stream.push(frame).shape[T] for _ in range(8)] == [0, 0, 0, 0, 3, 1, 1, 1]
    assert stream.finish().shape[T] == 2


def test_a_stream_goes_on_elsewhere() -> None:
    module, x = NeighbourhoodAttention((3, 3, 1), _DIM), torch.randn(1, 6, 6, 5, 2)
    for plan in (Plan((T,), chunk=1), Plan((T, H), chunk=1, strip=2)):
        first, second = SlabStream(module, plan), SlabStream(module, plan)
        pieces = [first.push(slab) for slab in x[:, :, :3].split(1, T)]
        second.load_state_dict(first.state_dict())
        pieces += [second.push(slab) for slab in x[:, :, 3:].split(1, T)] + [second.finish()]
        assert_close(torch.cat([piece for piece in pieces if piece.shape[T]], T), module(x))


@pytest.mark.parametrize(("axis", "name"), [(2, "frames"), (3, "rows"), (4, "columns")])
@pytest.mark.parametrize("order", [(), *ORDERS], ids=str)
def test_an_axis_shorter_than_its_kernel_is_refused(axis: int, name: str, order: tuple[int, ...]) -> None:
    x = torch.randn(1, 6, 4, 4, 4).narrow(axis, 0, 2)
    with pytest.raises(InputError, match=f"attention to 3 {name} needs as many, got 2"):
        run(NeighbourhoodAttention((3, 3, 3), _DIM), x, Plan(order, chunk=1, strip=1))


def test_even_kernels_are_refused() -> None:
    with pytest.raises(ValueError, match="must be odd"):
        NeighbourhoodAttention((3, 4, 3), _DIM)


def test_gradients_are_those_of_the_definition() -> None:
    x = random_like(torch.empty(1, 6, 3, 5, 4, dtype=torch.double), 1).requires_grad_()
    weight = random_like(torch.empty(1, 2, 3, 5, 4, dtype=torch.double), 2)
    got, want = (
        torch.autograd.grad((answer * weight).sum(), x)[0]
        for answer in (NeighbourhoodAttention((3, 3, 3), _DIM)(x), by_definition_with_gradients(x))
    )
    assert_close(got, want)


def by_definition_with_gradients(x: Tensor) -> Tensor:
    """All positions at once, with the windows as a matrix."""
    extent = x.shape[T:]
    sees = torch.zeros(*extent, *extent, dtype=torch.bool)
    for place in product(*map(range, extent)):
        sees[(*place, *(window(i, n, 3) for i, n in zip(place, extent, strict=True)))] = True
    sees = sees.reshape(x[0, 0].numel(), -1)
    queries, keys, values = x.flatten(2).transpose(1, 2).chunk(3, -1)
    scores = (queries @ keys.transpose(1, 2) / _DIM**0.5).masked_fill(~sees, -torch.inf)
    return (scores.softmax(-1) @ values).transpose(1, 2).unflatten(2, extent)


def test_counting_sees_what_a_run_holds() -> None:
    """On meta tensors only one frame's strip is gone through: shape and layout are those of the real answer."""
    module, shape = NeighbourhoodAttention((3, 3, 3), _DIM), (1, 12, 5, 9, 10)
    with LiveStorage(), torch.no_grad():
        counted = module(empty_clip(shape, torch.float32))
    real = module(torch.randn(shape).contiguous(memory_format=torch.channels_last_3d))
    assert (counted.shape, counted.stride()) == (real.shape, real.stride())


def test_streams_of_the_public_suite() -> None:
    assert_streams_exactly(NeighbourhoodAttention((3, 3, 3), _DIM), torch.randn(1, 6, 6, 7, 4, dtype=torch.double))
