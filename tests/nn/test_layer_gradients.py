"""Training: every layer has gradients, the ones of its formula, and answers as it does in inference."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import ORDERS, assert_close, drive, examples, partitions, random_like, randomise
from torch import Tensor

from vidlatent.nn import (
    GELU,
    Chain,
    Concat,
    Conv3d,
    DepthToSpace,
    FirstFrame,
    Fit,
    FrameAttention,
    GroupNorm,
    Haar,
    InverseHaar,
    LayerNorm,
    Nearest,
    Residual,
    RMSNorm,
    Scale,
    SiLU,
    SpaceToDepth,
    TemporalAttention,
    Trim,
)
from vidlatent.streaming import T, Window

LAYERS = {
    "conv": lambda: Conv3d(4, 4, t=Window.causal(3, mode="replicate"), h=Window.centred(3), w=Window.centred(3)),
    "strided conv": lambda: Conv3d(4, 2, t=Window(3, 2, 2, 1, "reflect"), h=Window(1, 2), groups=2),
    "matrix product": lambda: Conv3d(4, 3),
    "rms norm": lambda: RMSNorm(4),
    "rms norm, bias, silu": lambda: RMSNorm(4, bias=True, silu=True),
    "layer norm": lambda: LayerNorm(4),
    "layer norm, silu": lambda: LayerNorm(4, silu=True),
    "group norm of the clip": lambda: GroupNorm(2, 4),
    "group norm of frames": lambda: GroupNorm(2, 4, over="frame"),
    "frame attention": lambda: FrameAttention(4, heads=2),
    "temporal attention": lambda: TemporalAttention(4, heads=2),
    "fold": lambda: SpaceToDepth((2, 2, 1), before=1),
    "unfold": lambda: DepthToSpace((2, 2, 1)),
    "haar": lambda: Haar((2, 2, 1), before=1),
    "inverse haar": lambda: InverseHaar((2, 2, 1)),
    "nearest, trim": lambda: Chain(Nearest((2, 2, 1)), Trim(T, before=1)),
    "fit": lambda: Fit((4, 4, 2), single_first=True),
    "activations": lambda: Chain(SiLU(), GELU(), GELU("tanh"), Scale([2.0] * 4, [1.0] * 4)),
    "first frame": lambda: FirstFrame(Conv3d(4, 4, t=Window(3, 2))),
    "residual": lambda: Residual(Chain(RMSNorm(4), SiLU(), Conv3d(4, 4, t=Window.centred(3)))),
    "concat": lambda: Concat(Conv3d(4, 2, h=Window.centred(5)), Chain()),
}


def sample(rows: int = 4) -> Tensor:
    return random_like(torch.empty(1, 4, 4, rows, 2, dtype=torch.double), 7)


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_right_and_the_answer_is_that_of_inference(name: str) -> None:
    layer, x = randomise(LAYERS[name](), 1), sample(3)
    with torch.no_grad():
        quiet = layer(x)
    assert_close(layer(x).detach(), quiet)
    parameters = dict(layer.named_parameters())

    def applied(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(parameters, values, strict=True)), (x,))

    inputs = [x.requires_grad_(), *(p.detach().clone().requires_grad_() for p in parameters.values())]
    assert torch.autograd.gradcheck(applied, inputs, fast_mode=True)


def gradients(layer: torch.nn.Module, answer: Tensor, x: Tensor) -> list[Tensor]:
    loss = (answer * random_like(answer, 3)).sum()
    return list(torch.autograd.grad(loss, [x, *layer.parameters()]))


@pytest.mark.parametrize("name", LAYERS)
@examples(6)
@given(data=st.data(), order=st.sampled_from(ORDERS))
def test_the_gradient_of_a_sweep_is_that_of_the_whole_pass(name: str, data, order: tuple[int, ...]) -> None:
    layer, x = randomise(LAYERS[name](), 1), sample().requires_grad_()
    want = gradients(layer, layer(x), x)
    cuts, inner = data.draw(partitions(4)), data.draw(st.integers(1, 4))
    got = gradients(layer, drive(layer, x, order, cuts, inner, finish=data.draw(st.booleans())), x)
    for a, b in zip(got, want, strict=True):
        assert_close(a, b, f"axes {order}, slabs {cuts}, inner slabs of {inner}")


@pytest.mark.parametrize("name", LAYERS)
def test_float32_trains_as_float64_does(name: str) -> None:
    layer, x = randomise(LAYERS[name](), 1), sample().requires_grad_()
    answer, want = layer(x).detach(), gradients(layer, layer(x), x)
    single = layer.float()
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        y = x.detach().float().to(memory_format=layout).requires_grad_()
        assert_close(single(y).detach(), answer.float())
        with torch.no_grad():
            assert_close(single(y), answer.float())
        for a, b in zip(gradients(single, single(y), y), want, strict=True):
            assert_close(a, b.float(), tolerance=1e-4)
