"""Channels rearranged and averaged, the norm of a position without weights, and activations."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import assert_close, assert_sweeps, clips, examples
from torch import Tensor

from vidlatent.nn.activations import ReLU, SoftClamp
from vidlatent.nn.channels import GroupMean, TakeChannels
from vidlatent.nn.pixel_norm import PixelNorm


def _silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def _normalised(x: Tensor) -> Tensor:
    return x / torch.sqrt((x * x).sum(1, keepdim=True) / x.shape[1] + 0.25)


FORMULAS = {
    "taken": (TakeChannels([2, 0, 0, 1]), lambda x: torch.cat([x[:, 2:3], x[:, :1], x[:, :1], x[:, 1:2]], 1)),
    "averaged": (GroupMean(3), lambda x: (x[:, 0:1] + x[:, 1:2] + x[:, 2:3]) / 3),
    "relu": (ReLU(), lambda x: torch.where(x > 0, x, torch.zeros_like(x))),
    "soft clamp": (SoftClamp(0.5), lambda x: (1 - 2 / (torch.exp(4 * x) + 1)) / 2),
    "pixel norm": (PixelNorm(eps=0.25), _normalised),
    "pixel norm, silu": (PixelNorm(eps=0.25, silu=True), lambda x: _silu(_normalised(x))),
}


@pytest.mark.parametrize("name", FORMULAS)
@examples(12)
@given(data=st.data(), x=clips())
def test_formula(name: str, data, x: Tensor) -> None:
    module, formula = FORMULAS[name]
    before = x.clone()
    assert_close(module(x), formula(x))
    assert_sweeps(data, module, x)
    assert torch.equal(x, before)


RUNS = st.tuples(st.integers(0, 4), st.integers(0, 5)).map(lambda ends: [*range(ends[0], ends[1])])


@examples(60)
@given(indices=st.lists(st.integers(0, 4), max_size=7) | RUNS, data=st.data(), x=clips(channels=5))
def test_any_channels_are_taken_in_any_order(indices: list[int], data, x: Tensor) -> None:
    """None at all, runs that are views, and every other choice: all are what indexing gives."""
    module, before = TakeChannels(indices), x.clone()
    assert torch.equal(module(x), x[:, indices])
    if indices:
        assert_sweeps(data, module, x)
    assert torch.equal(x, before)


def test_groups_are_of_consecutive_channels() -> None:
    x = torch.arange(4.0).view(1, 4, 1, 1, 1)
    assert GroupMean(2)(x).flatten().tolist() == [0.5, 2.5]


def test_a_position_without_signal_stays_nothing_and_gradients_flow() -> None:
    x = torch.zeros(1, 2, 1, 1, 1, requires_grad=True)
    y = PixelNorm(silu=True)(x)
    y.sum().backward()
    assert not y.any()
    assert torch.isfinite(x.grad).all()


def test_numbers_of_channels_are_no_part_of_a_checkpoint() -> None:
    assert TakeChannels([0, 1]).state_dict() == {}
