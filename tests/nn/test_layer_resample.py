"""Folding, unfolding, repeating, trimming, fitting and first-frame rules."""

import pytest
import torch
from einops import rearrange
from hypothesis import given
from hypothesis import strategies as st
from sweep_helpers import assert_close, assert_sweeps, clips, examples, extend, random_like, randomise, seeds
from torch import Tensor

from vidlatent.nn import Chain, Conv3d, DepthToSpace, FirstFrame, Fit, Nearest, Residual, SpaceToDepth, Trim
from vidlatent.streaming import H, T, W, Window

factors = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2))


@examples(40)
@given(st.data(), clips(channels=2), factors, st.integers(0, 3), st.sampled_from(["zeros", "replicate", "reflect"]))
def test_space_to_depth(data, x: Tensor, factor, before: int, mode: str) -> None:
    module, (t, h, w) = SpaceToDepth(factor, before=before, mode=mode), factor
    seen = extend(x, T, Window(before=before, mode=mode))
    b, c, *sizes = seen.shape
    counts = [size // f for size, f in zip(sizes, factor, strict=True)]
    whole = seen[:, :, : counts[0] * t, : counts[1] * h, : counts[2] * w]  # the incomplete block at the end is left
    if all(counts):
        want = rearrange(whole, "b c (f t) (r h) (k w) -> b (c t h w) f r k", t=t, h=h, w=w)
    else:
        want = x.new_empty(b, c * t * h * w, *counts)
    assert torch.equal(module(x), want)
    assert_sweeps(data, module, x)


@examples(30)
@given(st.data(), clips(channels=36), factors)
def test_depth_to_space(data, x: Tensor, factor) -> None:
    t, h, w = factor
    channels = 2 * t * h * w
    x = x[:, :channels]
    want = rearrange(x, "b (c t h w) f r k -> b c (f t) (r h) (k w)", t=t, h=h, w=w)
    assert torch.equal(DepthToSpace(factor)(x), want)
    assert_sweeps(data, DepthToSpace(factor), x)


@examples(30)
@given(st.data(), clips(channels=3, t=4, h=4, w=3), factors, seeds)
def test_folding_and_unfolding_undo_each_other(data, x: Tensor, factor, seed: int) -> None:
    big = random_like(torch.empty([s * f for s, f in zip(x.shape, (1, 1, *factor), strict=True)]), seed)
    down, up = SpaceToDepth(factor), DepthToSpace(factor)
    assert torch.equal(up(down(big)), big)
    small = down(big)
    assert torch.equal(down(up(small)), small)
    single = big[:, :, factor[0] - 1 :]  # a first frame that is a block of its own
    causal = Chain(SpaceToDepth(factor, before=factor[0] - 1), up, Trim(T, before=factor[0] - 1))
    assert torch.equal(causal(single), single)
    assert_sweeps(data, causal, single)


@examples(30)
@given(st.data(), clips(), factors)
def test_nearest(data, x: Tensor, factor) -> None:
    want = x
    for axis, times in zip((T, H, W), factor, strict=True):
        want = want.repeat_interleave(times, axis)
    assert torch.equal(Nearest(factor)(x), want)
    assert_sweeps(data, Nearest(factor), x)


@examples(60)
@given(st.data(), clips(), st.sampled_from([T, H, W]), st.integers(0, 4), st.integers(0, 4))
def test_trim(data, x: Tensor, axis: int, before: int, after: int) -> None:
    module, length = Trim(axis, before=before, after=after), x.shape[axis]
    want = x.narrow(axis, min(before, length), max(0, length - before - after))
    assert_close(module(x), want)
    assert_sweeps(data, module, x)


@examples(60)
@given(st.data(), clips(), st.tuples(*[st.integers(1, 5)] * 3), st.booleans())
def test_fit(data, x: Tensor, multiples, single: bool) -> None:
    module, want = Fit(multiples, single_first=single), x
    for axis, multiple in zip((T, H, W), multiples, strict=True):
        offset = 1 if single and axis == T else 0
        while (want.shape[axis] - offset) % multiple:
            want = torch.cat([want, want.narrow(axis, want.shape[axis] - 1, 1)], axis)
    assert torch.equal(module(x), want)
    assert_sweeps(data, module, x)


BODIES = {
    "Wan": lambda: Conv3d(3, 3, t=Window(3, 2), h=Window.centred(3)),
    "trimmed": lambda: Chain(Trim(T, before=1), Conv3d(3, 3, t=Window(2, 2)), Nearest((2, 1, 1))),
    "late rows": lambda: Residual(Conv3d(3, 3, t=Window.centred(3), h=Window.centred(5, mode="reflect"))),
    "nothing": lambda: Trim(T, before=99),
}


@pytest.mark.parametrize("body", BODIES)
@examples(15)
@given(data=st.data(), x=clips(), seed=seeds)
def test_first_frame(body: str, data, x: Tensor, seed: int) -> None:
    module = FirstFrame(randomise(BODIES[body](), seed, x.dtype))
    with torch.no_grad():
        got, rest = module(x), module.body(x)
    assert torch.equal(got[:, :, :1], x[:, :, :1])
    assert torch.equal(got[:, :, 1:], rest)
    assert_sweeps(data, module, x)


def test_wan_downsamples_four_frames_and_one_to_two_and_one() -> None:
    module = FirstFrame(randomise(Conv3d(1, 1, t=Window(3, 2)), 0)).requires_grad_(False)
    assert [module(torch.zeros(1, 1, n, 1, 1, dtype=torch.double)).shape[T] for n in (1, 3, 5, 9)] == [1, 2, 3, 5]
