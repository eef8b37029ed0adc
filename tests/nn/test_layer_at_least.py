"""Clips too short for what is inside."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import assert_close, assert_sweeps, clips, examples
from torch import Tensor

from vidlatent.nn import Chain, Conv3d, Nearest, Trim
from vidlatent.nn.at_least import AtLeast
from vidlatent.nn.edges import Pad
from vidlatent.streaming import H, Plan, SlabStream, T, Window
from vidlatent.testing import assert_streams_exactly


def body() -> Chain:
    """Doubles every axis but for the first frame, and sees far along each."""
    torch.manual_seed(0)
    edges = Window.centred(5)
    conv = Conv3d(3, 3, t=edges, h=edges, w=edges).requires_grad_(False)
    return Chain(Pad(T, 0, 2, "replicate"), conv, Nearest((2, 2, 2)), Trim(T, before=1, after=4))


def by_hand(module: Chain, x: Tensor, minimum: tuple[int, int, int]) -> Tensor:
    t, h, w = (max(least - n, 0) for least, n in zip(minimum, x.shape[T:], strict=True))
    filled = torch.nn.functional.pad(x, (w // 2, w - w // 2, h // 2, h - h // 2, 0, t), mode="replicate")
    frames, rows, columns = x.shape[T:]
    answer = module(filled)[:, :, : 2 * frames - 1]
    return answer[..., h // 2 * 2 : (h // 2 + rows) * 2, w // 2 * 2 : (w // 2 + columns) * 2]


@examples(60)
@given(data=st.data(), x=clips(t=6, h=7, w=6), minimum=st.tuples(*[st.integers(1, 6)] * 3))
def test_edges_are_repeated_and_left_away_again(data, x: Tensor, minimum: tuple[int, int, int]) -> None:
    inside = body().to(x.dtype)
    module = AtLeast(inside, minimum, (2, 2, 2))
    assert_close(module(x), by_hand(inside, x, minimum))
    assert_sweeps(data, module, x)


@pytest.mark.parametrize("extent", [(1, 1, 1), (2, 3, 5), (5, 2, 1), (1, 6, 4)])
def test_short_clips_stream_exactly(extent: tuple[int, int, int]) -> None:
    module = AtLeast(body().double(), (4, 5, 3), (2, 2, 2))
    assert_streams_exactly(module, torch.randn(1, 3, *extent, dtype=torch.double), partitions=8)


def test_a_saved_stream_of_a_short_clip_goes_on() -> None:
    module, x = AtLeast(body(), (5, 4, 1), (2, 2, 2)), torch.randn(1, 3, 3, 2, 2)
    plan = Plan((T, H), chunk=1, strip=1)
    first, second, third = (SlabStream(module, plan) for _ in range(3))
    pieces = [first.push(x[:, :, :1])]
    saved = first.state_dict()
    first.push(x[:, :, 1:2])  # what goes on does not change what was saved
    second.load_state_dict(saved)
    pieces += [second.push(x[:, :, 1:2])]
    third.load_state_dict(second.state_dict())
    pieces += [third.push(x[:, :, 2:]), third.finish()]
    assert_close(torch.cat([piece for piece in pieces if piece.shape[T]], T), module(x))
