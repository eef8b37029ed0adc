"""Convolution: F.conv3d over the input as the windows see it, whole and in any slabs."""

import math
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import assert_close, assert_sweeps, clips, examples, extend, random_like, randomise, seeds, windows
from torch import Tensor

from vidlatent.nn import Conv3d
from vidlatent.streaming import H, T, W, Window


def reference(conv: Conv3d, x: Tensor) -> Tensor:
    """The convolution without any padding of its own, or the empty answer where no window fits."""
    three = [conv.windows[axis] for axis in (T, H, W)]
    for axis, window in zip((T, H, W), three, strict=True):
        x = extend(x, axis, window)
    if any(x.shape[a] < w.span for a, w in zip((T, H, W), three, strict=True)):
        counts = [max(0, (x.shape[a] - w.span) // w.stride + 1) for a, w in zip((T, H, W), three, strict=True)]
        return x.new_empty(x.shape[0], conv.out_channels, *counts)
    strides, dilations = [w.stride for w in three], [w.dilation for w in three]
    return F.conv3d(x.contiguous(), conv.weight, conv.bias, strides, 0, dilations, conv.groups)


@st.composite
def convolutions(draw: st.DrawFn, dtype: torch.dtype) -> Conv3d:
    """Any windows on three axes, groups, with and without a bias."""
    groups = draw(st.sampled_from([1, 1, 2]))
    sizes = {name: draw(windows()) for name in "th"} | {"w": draw(windows(3, 2, 2, 1, 1))}
    return randomise(Conv3d(4, 6, **sizes, groups=groups, bias=draw(st.booleans())), draw(seeds), dtype)


@examples(60)
@given(st.data(), clips(channels=4))
def test_any_convolution_is_the_reference_and_sweeps_exactly(data, x: Tensor) -> None:
    conv = data.draw(convolutions(x.dtype))
    with torch.no_grad():
        # numbers of many hundreds of products: relative to their scale, not to what cancels
        conv.weight /= math.sqrt(conv.weight[0].numel())
        assert_close(conv(x), reference(conv, x))
    assert_sweeps(data, conv, x)


NAMED = {
    "causal": {"t": Window.causal(3), "h": Window.centred(3), "w": Window.centred(3)},
    "causal, first frame repeated": {"t": Window.causal(3, mode="replicate"), "h": Window.centred(3)},
    "centred": {"t": Window.centred(3), "h": Window.centred(5), "w": Window.centred(3)},
    "centred, reflecting": {"t": Window.centred(5, mode="reflect"), "h": Window.centred(3, mode="reflect")},
    "asymmetric": {"t": Window(4, 1, 1, 2), "h": Window(3, 1, 0, 2, "replicate")},
    "Wan down": {"t": Window(3, 2), "h": Window(3, 2, 0, 1), "w": Window(3, 2, 0, 1)},
    "strided causal": {"t": Window.causal(3, 2), "h": Window.centred(3, 2)},
    "dilated": {"t": Window.causal(3, dilation=2), "h": Window.centred(3, dilation=3)},
    "kernel below stride": {"t": Window(1, 3), "h": Window(2, 3), "w": Window(1, 2)},
    "kernel below stride, behind padding": {"t": Window(1, 2, 1, 1), "h": Window(2, 4, 3, 2, "replicate")},
    "cropping": {"t": Window(2, 1, -1, 0), "h": Window(1, 1, -2, -1)},
    "cropping both ends": {"t": Window(1, 1, -1, -1), "h": Window(2, 1, -1, -1)},
    "patches": {"t": Window(2, 2), "h": Window(2, 2), "w": Window(2, 2)},
    "one by one": {},
}


@pytest.mark.parametrize("name", NAMED)
@examples(6)
@given(data=st.data(), frames=st.integers(1, 12), rows=st.integers(1, 12), groups=st.sampled_from([1, 2, 4]))
def test_the_convolutions_of_published_models(name: str, data, frames: int, rows: int, groups: int) -> None:
    conv = randomise(Conv3d(4, 4, **NAMED[name], groups=groups), data.draw(seeds))
    x = random_like(torch.empty(1, 4, frames, rows, 4, dtype=torch.double), data.draw(seeds))
    with torch.no_grad():
        assert_close(conv(x), reference(conv, x))
    assert_sweeps(data, conv, x)


@pytest.mark.parametrize("reach", [0, 1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@torch.no_grad()
def test_long_sums_with_any_padding_of_frames(kernel: int, reach: int) -> None:
    """No tap sees a frame for every answer where more than half of the kernel is padded."""
    conv = Conv3d(4, 4, t=Window(kernel, 1, reach, reach), h=Window.centred(3))
    x = random_like(torch.empty(1, 4, 5, 6, 4), 0)
    want = reference(conv, x)
    with patch.multiple("vidlatent.nn.conv", _LONG=1, _PRODUCTS=5, _POSITIONS=30):
        torch.testing.assert_close(conv(x), want, rtol=1e-4, atol=1e-5)


@examples(60)
@given(st.data(), clips(channels=4))
def test_long_sums_taken_in_parts_are_the_convolution(data, x: Tensor) -> None:
    conv, x = data.draw(convolutions(torch.double)), x.double()
    with torch.no_grad():
        conv.weight /= math.sqrt(conv.weight[0].numel())
        want = reference(conv, x)
        limits = {"_LONG": 1, "_PRODUCTS": data.draw(st.integers(1, 40)), "_POSITIONS": data.draw(st.integers(1, 99))}
        with patch.multiple("vidlatent.nn.conv", **limits):
            got = conv.float()(x.float())
    torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_sums_of_many_products_lose_few_digits() -> None:
    conv = randomise(Conv3d(512, 64, t=Window.causal(3), h=Window.centred(3), w=Window.centred(3)), 0, torch.double)
    conv.weight /= math.sqrt(conv.weight[0].numel())
    x = random_like(torch.empty(1, 512, 5, 8, 8, dtype=torch.double), 1)
    want = conv(x)
    error = conv.float()(x.float().contiguous(memory_format=torch.channels_last_3d)) - want
    assert error.square().mean().sqrt() <= 4e-7 * want.square().mean().sqrt()


def test_weights_are_those_of_torch() -> None:
    windows = {"t": Window.causal(3), "h": Window.centred(3), "w": Window.centred(5)}
    ours, theirs = Conv3d(8, 16, **windows, groups=2), torch.nn.Conv3d(8, 16, (3, 3, 5), groups=2)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    torch.manual_seed(0)
    theirs.reset_parameters()
    torch.manual_seed(0)
    ours.reset_parameters()
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)
    assert Conv3d(8, 16, bias=False).bias is None


def test_a_clip_too_short_for_one_window_gives_an_empty_answer_of_the_right_shape() -> None:
    conv = Conv3d(4, 6, t=Window(3, 2), h=Window.centred(3)).requires_grad_(False)
    assert conv(torch.zeros(2, 4, 2, 5, 3)).shape == (2, 6, 0, 5, 3)
    assert conv(torch.zeros(2, 4, 0, 5, 3)).shape == (2, 6, 0, 5, 3)
    assert conv(torch.zeros(2, 4, 3, 0, 3)).shape == (2, 6, 1, 0, 3)


@pytest.mark.parametrize("windows", [{"t": Window.causal(3)}, {"t": Window.centred(3), "h": Window(3, 2, 0, 1)}, {}])
def test_a_causal_answer_never_sees_the_future(windows: dict[str, Window]) -> None:
    conv = randomise(Conv3d(4, 4, **windows), 0).requires_grad_(False)
    x = random_like(torch.empty(1, 4, 6, 5, 3, dtype=torch.double), 1)
    changed = x.clone()
    changed[:, :, 4:] += 1
    ahead = windows.get("t", Window()).after
    differs = (conv(x) != conv(changed)).flatten(3).any(3).any(1)[0]
    assert differs.tolist() == [frame >= 4 - ahead for frame in range(6)]
