"""Attention among neighbours against windows written index by index, as NATTEN defines them."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import ORDERS, assert_close, assert_sweeps, examples, random_like, randomise, seeds
from torch import Tensor

from vidlatent.errors import InputError
from vidlatent.nn import Chain, Conv3d, GroupNorm, Residual
from vidlatent.nn.at_least import AtLeast
from vidlatent.nn.neighbourhood import NeighbourhoodAttention
from vidlatent.nn.rotary import rotations, turn
from vidlatent.streaming import H, Plan, SlabStream, T, Window, run
from vidlatent.streaming.meter import LiveStorage, empty_clip, to_meta
from vidlatent.testing import assert_streams_exactly

_DIM = 8


def window(place: int, length: int, kernel: int) -> slice:
    """Centred, or moved until it lies inside."""
    start = min(max(place - kernel // 2, 0), length - kernel)
    return slice(start, start + kernel)


def by_definition(module: NeighbourhoodAttention, x: Tensor) -> Tensor:
    """All positions at once, with the windows as a matrix."""
    extent = x.shape[T:]
    sees = torch.zeros(*extent, *extent, dtype=torch.bool)
    for place in product(*map(range, extent)):
        sees[(*place, *(window(i, n, k) for i, n, k in zip(place, extent, module.kernel, strict=True)))] = True
    parts = module.to_qkv(x.permute(0, 2, 3, 4, 1)).chunk(3, -1)
    heads = [part.unflatten(-1, (-1, _DIM)) for part in parts]
    turns = rotations([torch.arange(n) for n in extent], _DIM, x.dtype)
    for index, weight in enumerate((module.norm_q, module.norm_k)):
        square = heads[index].square().mean(-1, keepdim=True)
        heads[index] = turn(heads[index] / (square + module.eps).sqrt() * weight, turns)
    queries, keys, values = (part.flatten(1, 3).transpose(1, 2) for part in heads)
    scores = (queries @ keys.transpose(-1, -2) / _DIM**0.5).masked_fill(~sees.view(keys.shape[2], -1), -torch.inf)
    return (scores.softmax(-1) @ values).transpose(1, 2).flatten(2).transpose(1, 2).unflatten(2, extent)


@st.composite
def cases(draw: st.DrawFn) -> tuple[NeighbourhoodAttention, Tensor]:
    """Any kernel, and a clip that is no smaller."""
    kernel = tuple(draw(st.sampled_from([1, 3, 5])) for _ in range(3))
    extent = [size + draw(st.integers(0, 5)) for size in kernel]
    channels = _DIM * draw(st.integers(1, 2))
    dtype = draw(st.sampled_from([torch.float64, torch.float64, torch.float32]))
    x = random_like(torch.empty(draw(st.integers(1, 2)), channels, *extent, dtype=dtype), draw(seeds))
    return randomise(NeighbourhoodAttention(channels, kernel, _DIM), draw(seeds), dtype), x


@examples(60)
@given(data=st.data(), case=cases())
def test_windows_are_moved_inwards_and_sweeps_are_exact(data, case) -> None:
    module, x = case
    with torch.no_grad():
        assert_close(module(x), by_definition(module, x))
    assert_sweeps(data, module, x)


def small(kernel: tuple[int, int, int], dtype: torch.dtype = torch.double) -> NeighbourhoodAttention:
    return randomise(NeighbourhoodAttention(_DIM, kernel, _DIM), 0, dtype).requires_grad_(False)


def test_more_columns_than_a_tile() -> None:
    module, x = small((1, 5, 3)), random_like(torch.empty(1, _DIM, 2, 9, 13, dtype=torch.double), 0)
    assert_close(module(x), by_definition(module, x))


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_inside_a_model_sweeps_exactly(order: tuple[int, ...]) -> None:
    three = Window.centred(3)
    layers = (Residual(Chain(Conv3d(8, 8, t=three, h=three), small((3, 5, 3)))) for _ in range(2))
    model = randomise(Chain(*layers), 1).requires_grad_(False)
    x = random_like(torch.empty(2, 8, 7, 8, 3, dtype=torch.double), 3)
    want = model(x)
    for thickness in (1, 2, 3):
        assert_close(run(model, x, Plan(order, chunk=thickness, strip=thickness)), want)


@pytest.mark.parametrize("over", ["clip", "frame"])
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_between_barriers_sweeps_exactly(order: tuple[int, ...], over: str) -> None:
    three, layers = Window.centred(3), []
    for _ in range(2):
        layers += [GroupNorm(2, 8, over=over), Residual(Chain(small((3, 3, 3)), Conv3d(8, 8, t=three)))]
    model = randomise(Chain(*layers, AtLeast(small((3, 5, 1)), (3, 5, 1), (1, 1, 1))), 1).requires_grad_(False)
    x = random_like(torch.empty(1, 8, 7, 9, 3, dtype=torch.double), 3)
    assert_streams_exactly(model, x, [order], partitions=6)


def test_a_frame_waits_for_half_a_window_and_the_first_for_a_whole_one() -> None:
    stream, frame = SlabStream(small((5, 1, 1), torch.float), Plan((T,), chunk=1)), torch.randn(1, _DIM, 1, 2, 2)
    assert [stream.push(frame).shape[T] for _ in range(8)] == [0, 0, 0, 0, 3, 1, 1, 1]
    assert stream.finish().shape[T] == 2


def test_between_two_slabs_the_input_of_one_window_is_kept() -> None:
    stream, frame = SlabStream(small((5, 1, 1), torch.float), Plan((T,), chunk=1)), torch.randn(1, _DIM, 1, 2, 2)
    for _ in range(9):
        stream.push(frame)
    assert stream.sweep.state_bytes == 5 * frame.nbytes


def test_a_stream_goes_on_elsewhere() -> None:
    module, x = small((3, 3, 1), torch.float), torch.randn(1, _DIM, 6, 5, 2)
    for plan in (Plan((T,), chunk=1), Plan((T, H), chunk=1, strip=2)):
        first, second = SlabStream(module, plan), SlabStream(module, plan)
        pieces = [first.push(slab) for slab in x[:, :, :3].split(1, T)]
        second.load_state_dict(first.state_dict())
        pieces += [second.push(slab) for slab in x[:, :, 3:].split(1, T)] + [second.finish()]
        assert_close(torch.cat([piece for piece in pieces if piece.shape[T]], T), module(x))


@pytest.mark.parametrize(("axis", "name"), [(2, "frames"), (3, "rows"), (4, "columns")])
@pytest.mark.parametrize("order", [(), *ORDERS], ids=str)
def test_an_axis_shorter_than_its_kernel_is_refused(axis: int, name: str, order: tuple[int, ...]) -> None:
    x = torch.randn(1, _DIM, 4, 4, 4).narrow(axis, 0, 2)
    with pytest.raises(InputError, match=f"attention to 3 {name} needs as many, got 2"):
        run(small((3, 3, 3), torch.float), x, Plan(order, chunk=1, strip=1))


@pytest.mark.parametrize(
    ("channels", "kernel", "dim", "said"),
    [(8, (3, 4, 3), 8, "must be odd"), (12, (3, 3, 3), 8, "do not divide"), (12, (3, 3, 3), 12, "multiple of 8")],
)
def test_what_cannot_be_is_refused(channels: int, kernel: tuple[int, int, int], dim: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NeighbourhoodAttention(channels, kernel, dim)


def test_gradients_are_those_of_the_definition() -> None:
    module = small((3, 3, 3)).requires_grad_()
    x = random_like(torch.empty(1, _DIM, 3, 5, 4, dtype=torch.double), 1).requires_grad_()
    weight = random_like(torch.empty(x.shape, dtype=torch.double), 2)
    answers = module(x), by_definition(module, x)
    got, want = (torch.autograd.grad((y * weight).sum(), [x, *module.parameters()]) for y in answers)
    for ours, theirs in zip(got, want, strict=True):
        assert_close(ours, theirs)


def test_counting_sees_the_shape_and_layout_of_the_answer() -> None:
    """Only one strip of one frame is gone through on meta tensors."""
    module, shape = small((3, 3, 3), torch.float), (1, _DIM, 5, 9, 10)
    real = module(torch.randn(shape).contiguous(memory_format=torch.channels_last_3d))
    with LiveStorage(), torch.no_grad():
        counted = to_meta(module)(empty_clip(shape, torch.float32))
    assert (counted.shape, counted.stride()) == (real.shape, real.stride())


def test_no_score_of_distant_positions_is_made() -> None:
    """A matrix of all pairs would be 64 times what a window of every position is."""
    module, shape = to_meta(small((3, 3, 3), torch.float)), (1, _DIM, 12, 24, 24)
    pairs = (shape[2] * shape[3] * shape[4]) ** 2
    with LiveStorage() as counter, torch.no_grad():
        module(empty_clip(shape, torch.float32))
    assert 0 < counter.peak_bytes < pairs


def test_streams_of_the_public_suite() -> None:
    assert_streams_exactly(small((3, 3, 3)), torch.randn(1, _DIM, 6, 7, 4, dtype=torch.double))
