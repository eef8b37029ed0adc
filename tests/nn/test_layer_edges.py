"""Padding and thinning of one axis as modules of their own."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import assert_sweeps, clips, examples
from torch import Tensor

from vidlatent.nn.edges import Every, Pad
from vidlatent.streaming import H, T


@pytest.mark.parametrize("axis", [T, H])
@examples(20)
@given(data=st.data(), x=clips())
def test_copies_of_the_ends(axis: int, data, x: Tensor) -> None:
    module = Pad(axis, 2, 1, "replicate")
    ends = [0, 0, 0, 0, 2, 1] if axis == T else [0, 0, 2, 1, 0, 0]
    assert torch.equal(module(x), F.pad(x, ends, mode="replicate"))
    assert_sweeps(data, module, x)


@pytest.mark.parametrize("axis", [T, H])
@examples(20)
@given(data=st.data(), x=clips())
def test_every_so_many(axis: int, data, x: Tensor) -> None:
    module = Every(axis, 3)
    assert torch.equal(module(x), x.index_select(axis, torch.arange(0, x.shape[axis], 3)))
    assert_sweeps(data, module, x)
