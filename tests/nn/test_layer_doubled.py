"""A convolution of doubled space: repetition and then `Conv3d`, whole and in any slabs, and trained alike."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import assert_close, assert_sweeps, clips, examples, randomise, seeds

from vidlatent.nn import Chain, Conv3d, DoubledConv3d, Nearest
from vidlatent.streaming import Window

MODES = ("zeros", "replicate", "reflect")
TIMES = (None, Window.causal(3), Window.causal(3, mode="replicate"), Window.centred(3), Window(2, 2, 1, 0))


def in_two_steps(conv: DoubledConv3d, mode: str, t: Window | None) -> Chain:
    """The definition, with the same weights."""
    edges = Window.centred(3, mode=mode)
    plain = Conv3d(conv.in_channels, conv.out_channels, t=t, h=edges, w=edges, bias=conv.bias is not None)
    plain.to(conv.weight.dtype).load_state_dict(conv.state_dict())
    return Chain(Nearest((1, 2, 2)), plain)


@examples(60)
@given(st.data(), clips(channels=4))
def test_is_repetition_and_convolution_and_sweeps_exactly(data, x: torch.Tensor) -> None:
    mode, t = data.draw(st.sampled_from(MODES)), data.draw(st.sampled_from(TIMES))
    conv = randomise(DoubledConv3d(4, 6, t=t, mode=mode, bias=data.draw(st.booleans())), data.draw(seeds), x.dtype)
    with torch.no_grad():
        conv.weight /= conv.weight[0].numel() ** 0.5
        assert_close(conv(x), in_two_steps(conv, mode, t)(x))
    assert_sweeps(data, conv, x)


def test_half_precision_is_what_the_two_steps_give() -> None:
    x = torch.randn(1, 4, 3, 5, 6, generator=torch.Generator().manual_seed(0)).bfloat16()
    for mode in MODES:
        conv = randomise(DoubledConv3d(4, 6, t=Window.causal(3), mode=mode), 0, torch.bfloat16)
        assert torch.equal(conv(x), in_two_steps(conv, mode, Window.causal(3))(x))


@pytest.mark.parametrize("mode", MODES)
def test_gradients_are_those_of_the_two_steps(mode: str) -> None:
    conv = randomise(DoubledConv3d(2, 3, t=Window.causal(2), mode=mode), 0, torch.double)
    x = torch.randn(1, 2, 3, 4, 5, dtype=torch.double, requires_grad=True)
    steps = in_two_steps(conv, mode, Window.causal(2))
    weights = [conv.weight, conv.bias], [steps[1].weight, steps[1].bias]
    for got, want in zip(
        torch.autograd.grad(conv(x).square().sum(), [x, *weights[0]]),
        torch.autograd.grad(steps(x).square().sum(), [x, *weights[1]]),
        strict=True,
    ):
        assert_close(got, want)
