"""Operators that see one position at a time, and take empty slabs."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import assert_close, assert_sweeps, clips, examples
from torch import Tensor

from vidlatent.nn import GELU, Clamp, DepthToSpace, InverseHaar, LayerNorm, Nearest, RMSNorm, Scale, SiLU
from vidlatent.streaming import Pointwise


def tanh_gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def three(*numbers: float) -> Tensor:
    return torch.tensor(numbers).view(3, 1, 1, 1)


FORMULAS = {
    "silu": (SiLU(), lambda x: x / (1 + torch.exp(-x))),
    "gelu": (GELU(), lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2),
    "gelu tanh": (GELU("tanh"), tanh_gelu),
    "clamp": (Clamp(), lambda x: torch.where(x < -1, -torch.ones_like(x), torch.where(x > 1, torch.ones_like(x), x))),
    "clamp below": (Clamp(0.0, math.inf), lambda x: torch.where(x < 0, torch.zeros_like(x), x)),
    "scale": (Scale([0.5, 2.0, -4.0], [0.25, 0.0, 3.0]), lambda x: x * three(0.5, 2, -4) + three(0.25, 0, 3)),
}


@pytest.mark.parametrize("name", FORMULAS)
@examples(12)
@given(data=st.data(), x=clips())
def test_formula(name: str, data, x: Tensor) -> None:
    module, formula = FORMULAS[name]
    before = x.clone()
    assert_close(module(2 * x), formula(2 * x).to(x.dtype))
    assert_sweeps(data, module, x)
    assert torch.equal(x, before)


def test_the_numbers_of_a_scale_are_no_part_of_a_checkpoint() -> None:
    scale = Scale([2.0], [1.0])
    assert scale.state_dict() == {}
    assert scale.double()(torch.ones(1, 1, 1, 1, 1, dtype=torch.double)).item() == 3


POINTWISE = [
    *(module for module, _ in FORMULAS.values() if not isinstance(module, Scale)),
    RMSNorm(8),
    RMSNorm(8, bias=True, silu=True),
    LayerNorm(8),
    LayerNorm(8, silu=True),
    Nearest((2, 3, 1)),
    DepthToSpace((2, 2, 2)),
    InverseHaar((2, 2, 2)),
]


@pytest.mark.parametrize("module", POINTWISE, ids=lambda module: type(module).__name__)
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("axis", [2, 3])
def test_an_empty_slab_gives_an_empty_slab_of_the_right_shape(module: Pointwise, grad: bool, axis: int) -> None:
    x = torch.randn(2, 8, 3, 4, 5)
    with torch.set_grad_enabled(grad):
        want = list(module(x).shape)
        want[axis] = 0
        assert list(module(x.narrow(axis, 0, 0)).shape) == want
